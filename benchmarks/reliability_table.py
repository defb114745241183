def print_table(plan, lines):
    for line in lines:
        print(line)
