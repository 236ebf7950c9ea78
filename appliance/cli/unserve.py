"""``luthier unserve``: stop serving a model."""

from __future__ import annotations

from argparse import ArgumentParser

from appliance.cli.command import Call, Command


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="MODEL|ALIAS", help="a model, an alias or a deployment's id")


def run(call: Call) -> int:
    with call.client() as client:
        client.undeploy(call.options.name)
    if call.screen.as_json:
        call.screen.value({"schema": "luthier.unserved/1", "name": call.options.name})
    else:
        call.screen.say(f"{call.options.name} is no longer served; the model is kept.")
    return 0


COMMAND = Command(
    about="Stop serving a model. The model itself is kept.",
    usage="MODEL|ALIAS",
    configure=configure,
    run=run,
    examples=("luthier unserve support-faq",),
    exits=(0, 3, 4),
)
