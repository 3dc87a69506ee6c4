"""Steps as `benchmarks.steps` times them, in a process whose threads wait as those of every command of ours."""

from benchmarks.steps import main

if __name__ == "__main__":
    main()
