"""Plans the watering of a greenhouse."""

from datetime import datetime, timedelta

DRY_BELOW = 0.35


def next_watering(last: datetime, moisture: float) -> datetime:
    """Return when to water next: at once if the soil is dry, else two days after the last time."""
    if moisture < DRY_BELOW:
        return datetime.now()
    return last + timedelta(days=2)


def parse_sensor_line(line: str) -> tuple[str, float]:
    """Split a line of the sensor log, `bed-3;0.42`, into the bed and its moisture."""
    bed, value = line.strip().split(";")
    return bed, float(value)


class ValveBus:
    """Opens and closes valves over the serial port."""

    def __init__(self, port: str, baud_rate: int = 9600) -> None:
        self.port = port
        self.baud_rate = baud_rate

    def close_all(self) -> None:
        """Shut every valve, for instance when frost is forecast."""
        for number in range(16):
            self.send(f"C{number:02}")

    def send(self, command: str) -> None:
        """Write one command to the port."""
        with open(self.port, "w") as line:
            line.write(command)
