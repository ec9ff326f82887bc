"""Print this project's requirements, one a line. usage: dependencies.py runtime|dev"""

import sys
import tomllib
from pathlib import Path


def main() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    wanted = {"runtime": project["dependencies"], "dev": project["optional-dependencies"]["dev"]}[sys.argv[1]]
    sys.stdout.write("\n".join(wanted) + "\n")


if __name__ == "__main__":
    main()
