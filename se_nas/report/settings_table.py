"""docs/settings.md, from the settings themselves: ``python -m se_nas.report.settings_table > docs/settings.md``."""

from __future__ import annotations

from se_nas.evaluate.settings import TrainSettings
from se_nas.run.settings import SearchSettings
from se_nas.setting import table

HEAD = """# Settings of a search

Each setting has one name in three places: a key of the space file's `search:` section, a keyword of `se_nas.search`, and a
flag of `se-nas search`. Flags win over the file. `resume` takes those that say so.

```yaml
backbone: resnet8
backbone_args: {in_channels: 1}
input_size: [1, 8, 8]
reduction: [4, 8]
search: {data: digits, epochs: 2, objectives: [accuracy, macs], train: {lr: 0.1, schedule: cosine}}
```

The same from Python: `se_nas.search(space, epochs=2, objectives=["accuracy", "macs"], train={"lr": 0.1})`, and on the command
line: `--epochs 2 --objective accuracy --objective macs --train lr=0.1`.

This page is written by `python -m se_nas.report.settings_table`.
"""


def settings_page() -> str:
    """The whole page, in Markdown."""
    return "\n".join([HEAD.rstrip(), *table(SearchSettings), *table(TrainSettings, "train."), ""])


if __name__ == "__main__":
    print(settings_page(), end="")
