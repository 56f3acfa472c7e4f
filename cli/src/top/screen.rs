//! The terminal while it shows something that fills it. However that ends, the terminal is as it was.

use std::{io, thread};

use ratatui::{DefaultTerminal, Frame};

/// A terminal that shows something.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    has_ended: bool,
}

impl Screen {
    /// Takes the terminal, which reads keys one by one from then on. A panic of any thread puts it back before it says what
    /// it is.
    ///
    /// # Errors
    /// There is no terminal, or it cannot do that.
    pub(super) fn begin() -> io::Result<Self> {
        Ok(Self { terminal: ratatui::try_init()?, has_ended: false })
    }

    /// Draws again what changed.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(|_| ())
    }

    /// Puts the terminal back.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.has_ended = true;
        self.put_back()
    }

    fn put_back(&mut self) -> io::Result<()> {
        let shown = self.terminal.show_cursor();
        ratatui::try_restore().and(shown)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A panic has put it back already. Twice would move the cursor above what the panic says.
        if !self.has_ended && !thread::panicking() {
            // It may be gone.
            let _ = self.put_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    use std::process::Command;

    use rustix::fs::OFlags;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

    use super::*;

    /// Set for the process that panics.
    const PANICS: &str = "MEZZENGER_TEST_PANICS";

    #[test]
    fn a_panic_puts_the_terminal_back_before_it_says_why() {
        if env::var_os(PANICS).is_some() {
            let mut screen = Screen::begin().expect("a terminal");
            screen.draw(|frame| frame.render_widget("shown", frame.area())).expect("it is drawn");
            panic!("the reason");
        }
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&terminal).expect("it is ours");
        unlockpt(&terminal).expect("it can be opened");
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).expect("it has a size");
        let name = ptsname(&terminal, Vec::new()).expect("its name").into_string().expect("text");
        let mut options = File::options();
        options.read(true).write(true).custom_flags(OFlags::NOCTTY.bits().cast_signed());
        let screen = options.open(name).expect("it opens");
        let before = tcgetattr(&screen).expect("its modes");
        let mut command = Command::new(env::current_exe().expect("this program"));
        let test = "top::screen::tests::a_panic_puts_the_terminal_back_before_it_says_why";
        command.args([test, "--exact", "--nocapture"]).env(PANICS, "1").env("RUST_BACKTRACE", "0");
        let end = || screen.try_clone().expect("another handle");
        let mut child =
            command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("it starts");
        drop(command);
        // What it prints fits the terminal's buffer.
        assert!(!child.wait().expect("it ends").success());
        let after = tcgetattr(&screen).expect("its modes");
        assert_eq!(after.local_modes, before.local_modes);
        drop(screen);
        let (mut printed, mut buffer) = (Vec::new(), [0; 1024]);
        let mut terminal = File::from(terminal);
        // Linux says by an error that nobody is left.
        while let Ok(bytes @ 1..) = terminal.read(&mut buffer) {
            printed.extend_from_slice(&buffer[..bytes]);
        }
        let printed = String::from_utf8(printed).expect("text");
        let order = ["\u{1b}[?1049h", "shown", "\u{1b}[?1049l", "the reason"];
        let places = order.map(|text| printed.find(text).unwrap_or_else(|| panic!("{printed:?}")));
        assert!(places.is_sorted(), "{printed:?}");
        assert_eq!(printed.matches("\u{1b}[?1049l").count(), 1, "{printed:?}");
    }
}
