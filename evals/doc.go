// Package evals has a suite of tasks for agents, in Harbor's format; see docs/evals.md.
package evals
