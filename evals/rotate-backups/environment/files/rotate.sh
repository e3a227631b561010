#!/bin/bash
dir=$1
keep=$2
cd $dir
for f in $(ls | sort | head -n -$keep); do
  rm -r $f
done
