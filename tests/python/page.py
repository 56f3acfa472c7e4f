"""Looks at the server's page in a real browser, as its test says line by line: an operation in JSON, answered with a line."""

import json
import sys
import time

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

ROWS = """
return [...document.querySelectorAll('#' + arguments[0] + ' tbody tr')]
    .map((row) => [...row.children].map((cell) => cell.textContent));
"""
TILES = """
return Object.fromEntries([...document.querySelectorAll('#tiles > div')]
    .map((tile) => [tile.id, tile.querySelector('.value').textContent + ' | ' + tile.querySelector('.note').textContent]));
"""
WIDE = "return [document.documentElement.scrollWidth, window.innerWidth];"
AXE = """
const told = arguments[0];
axe.run(document, { preload: false, resultTypes: ['violations'] }).then(
    (found) => told(found.violations.map((it) => [it.id, it.help, it.nodes.map((node) => node.target + ': ' + node.failureSummary)])),
    (error) => told([['axe', String(error), []]]));
"""
FOCUSED = "const it = document.activeElement; return it.getAttribute('aria-label') || it.textContent || it.id;"


def browser() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


class Page:
    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        self.driver.get(address)

    def look(self) -> dict:
        """What the page shows."""
        tables = ("slow", "groups", "dead", "names", "connections")
        return {
            "state": self.driver.find_element(By.ID, "state").text,
            "tiles": self.driver.execute_script(TILES),
            "attention": self.driver.find_element(By.ID, "attention").text,
            "said": self.driver.find_element(By.ID, "said").text,
            **{table: self.driver.execute_script(ROWS, table) for table in tables},
        }

    def log(self) -> list:
        """What the browser complains of: refused scripts and styles among it."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def click(self, label: str) -> None:
        """Presses a button by its keyboard: the first with a label that begins so."""
        buttons = self.driver.find_elements(By.TAG_NAME, "button")
        for button in buttons:
            name = button.get_attribute("aria-label") or button.text
            if name.startswith(label) and button.is_displayed():
                button.send_keys(Keys.ENTER)
                return
        raise LookupError(label)

    def enter(self, field: str, text: str) -> None:
        self.driver.find_element(By.ID, field).send_keys(text + Keys.ENTER)

    def clear(self, field: str) -> None:
        self.driver.find_element(By.ID, field).clear()

    def tab(self, times: int) -> list:
        """What the tabulator comes to, from the beginning of the page on."""
        self.driver.execute_script("document.activeElement.blur(); window.scrollTo(0, 0);")
        body = self.driver.find_element(By.TAG_NAME, "body")
        found = []
        body.send_keys(Keys.TAB)
        for _ in range(times):
            found.append(self.driver.execute_script(FOCUSED))
            self.driver.switch_to.active_element.send_keys(Keys.TAB)
        return found

    def size(self, width: int, scheme: str, file: str | None = None) -> list:
        """How wide the content is, and how wide the window, in a window of this width."""
        height = 900
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        if file:
            height = self.driver.execute_script("return document.documentElement.scrollHeight")
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**metrics, "height": min(height, 4000)})
            # Once it is drawn in its new height.
            self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
            self.driver.save_screenshot(file)
        ground = "return getComputedStyle(document.body).backgroundColor"
        return [*self.driver.execute_script(WIDE), self.driver.execute_script(ground)]

    def axe(self, file: str) -> list:
        """Which rules of axe-core the page breaks as it is: each with what it says and where."""
        if not self.driver.execute_script("return 'axe' in window"):
            with open(file) as script:
                self.driver.execute_script(script.read())
        return self.driver.execute_async_script(AXE)

    def wait(self, script: str) -> None:
        """Waits until a condition of the page holds."""
        deadline = time.monotonic() + 30
        while not self.driver.execute_script("return " + script):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{script}: {json.dumps(self.look())}")
            time.sleep(0.05)


def main() -> None:
    driver = browser()
    try:
        page = Page(driver)
        for line in sys.stdin:
            operation, *arguments = json.loads(line)
            print(json.dumps(getattr(page, operation)(*arguments)), flush=True)
    finally:
        driver.quit()


main()
