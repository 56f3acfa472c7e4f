//! `mezzenger top`: the server at a terminal, live.

mod fetch;
mod rates;
mod screen;
mod tabs;
mod view;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::fetch::{Fetched, Fetcher};
use self::screen::Screen;
use self::view::View;
use crate::api::{Api, ApiArgs};
use crate::duration::positive;
use crate::error::{Error, written};
use crate::inspect::{connection_lines, name_lines, status_lines};
use crate::{SIGNAL_TICK, show};

/// What to show.
#[derive(clap::Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    api: ApiArgs,

    /// How often to ask the server.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = positive)]
    interval: Duration,
}

impl TopArgs {
    pub(crate) fn run(self, timeout: Duration) -> Result<(), Error> {
        let api = self.api.api(timeout)?;
        if io::stdout().is_terminal() {
            live(api, self.interval)
        } else {
            let lines = snapshot(&*fetch::all(&api)?);
            written(lines.iter().try_for_each(|line| show::line(line.as_bytes())))
        }
    }
}

/// Everything once, for a file or a pipe.
fn snapshot(fetched: &Fetched) -> Vec<String> {
    let mut lines = status_lines(&fetched.status);
    let groups = tabs::group_lines(&fetched.groups);
    let tables = [connection_lines(&fetched.connections), groups, name_lines(&fetched.names)];
    for table in tables {
        lines.push(String::new());
        lines.extend(table);
    }
    lines
}

/// Shows it until a key or a signal ends that. The terminal is then as it was.
fn live(api: Api, interval: Duration) -> Result<(), Error> {
    let stopped = stop_flag().map_err(Error::Signals)?;
    let mut view = View::new(api.url());
    let fetcher = Fetcher::start(api, interval).map_err(Error::Thread)?;
    let mut screen = Screen::begin().map_err(Error::Terminal)?;
    let shown = follow(&mut view, &fetcher, &mut screen, &stopped);
    let ended = screen.end();
    shown.and(ended.map_err(Error::Terminal))
}

/// Shows what the server tells, and does what keys say, until one of them or a signal ends it.
fn follow(
    view: &mut View,
    fetcher: &Fetcher,
    screen: &mut Screen,
    stopped: &AtomicBool,
) -> Result<(), Error> {
    let mut is_stale = true;
    while !stopped.load(Ordering::Relaxed) {
        while let Some(news) = fetcher.news() {
            view.take(news);
            is_stale = true;
        }
        if fetcher.has_ended() {
            return Err(Error::Terminal(io::Error::other("the thread that asks the server ended")));
        }
        if std::mem::take(&mut is_stale) {
            screen.draw(|frame| view.draw(frame)).map_err(Error::Terminal)?;
        }
        // A signal may interrupt the wait.
        match event::poll(SIGNAL_TICK) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::Terminal(error)),
        }
        is_stale = true;
        match event::read().map_err(Error::Terminal)? {
            Event::Key(key) if key.kind != KeyEventKind::Release && !obey(view, key) => break,
            _ => {}
        }
    }
    Ok(())
}

/// Does what a key says; whether to go on.
fn obey(view: &mut View, key: KeyEvent) -> bool {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('c' | 'd') if is_control => return false,
        KeyCode::Tab | KeyCode::Right => view.turn(1),
        KeyCode::BackTab | KeyCode::Left => view.turn(-1),
        KeyCode::Char(digit @ '1'..='9') => view.choose(usize::from(digit as u8 - b'1')),
        KeyCode::Char('s') => view.sort_by_next(),
        KeyCode::Char('r') => view.reverse(),
        KeyCode::Down | KeyCode::Char('j') => view.scroll(1),
        KeyCode::Up | KeyCode::Char('k') => view.scroll(-1),
        KeyCode::PageDown => view.scroll(view.page()),
        KeyCode::PageUp => view.scroll(-view.page()),
        KeyCode::Home => view.scroll(isize::MIN),
        KeyCode::End => view.scroll(isize::MAX),
        _ => {}
    }
    true
}

/// A flag that the signals set which end a program. It notices within a tick, and puts the terminal back: a second signal
/// does not end it sooner.
fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stopped))?;
    }
    Ok(stopped)
}
