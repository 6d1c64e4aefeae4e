"""The command `example`: a real file to try the bench on, and the three commands that lead to a forecast."""

from pathlib import Path

import click

NAME = "weather.csv"
"""Daily weather of Seattle, 2012 to 2015: precipitation (mm), highest and lowest temperature (°C), wind speed (m/s).

Recorded by the US National Oceanic and Atmospheric Administration; a work of the US government, and so in the public
domain. From the package vega-datasets, without its column of words; dates are written as 2012-01-31.
"""

COMMANDS = (
    "python -m bench sweep --data weather.csv --target temp_max --features temp_min,precipitation,wind "
    "--length 28 --horizon 7 --models lstm,cnn,transformer --max-sequences 8000 --name weather",
    "python -m bench predict weather weather.csv --plot forecast.svg",
    "python -m bench report weather",
)


@click.command()
def example() -> None:
    """Write a small real file, weather.csv, and print the commands that forecast it.

    The file is written into the working directory and never overwrites another. It holds the daily weather of Seattle
    from 2012 to 2015, recorded by the US National Oceanic and Atmospheric Administration; it is in the public domain.
    The commands take one to two minutes on two cores.
    """
    from bench.errors import DeclarationError

    text = Path(__file__).with_name(NAME).read_text(encoding="utf-8")
    try:
        with Path(NAME).open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        rule = "exists already, and is not overwritten; remove it, or change to another folder"
        raise DeclarationError(f"{NAME}: {rule}") from None
    rows = text.count("\n") - 1
    click.echo(f"wrote {NAME}: {rows:,} days of weather in Seattle (NOAA, public domain)", err=True)
    click.echo("Forecast the highest temperature of the next seven days with these commands:", err=True)
    for command in COMMANDS:
        click.echo(command)
