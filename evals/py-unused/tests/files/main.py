from shop import report

print(report.header())
for line in report.lines([{"cents": 100}]):
    print(line)
