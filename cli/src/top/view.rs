//! What `top` shows, and what the keys change of it.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState, Tabs};

use super::fetch::{Fetched, News};
use super::rates::{Rates, rate};
use super::tabs::{self, TABS, Tab};
use crate::overview::{bytes, seconds};
use crate::show::on_terminal;
use crate::table::Align;

/// Columns of the terminal between two of a list.
const SPACING: u16 = 2;

const HELP: &str = "q quit   Tab or 1-3 list   s sort   r reverse   arrows scroll";

/// By which of its columns a list is ordered, and whether from the other end.
#[derive(Clone, Copy, Default)]
struct Order {
    column: usize,
    is_reversed: bool,
}

/// What is shown.
pub(super) struct View {
    url: String,
    now: Option<Box<Fetched>>,
    before: Option<Box<Fetched>>,
    /// Why there is no answer, and since when.
    away: Option<(String, Instant)>,
    tab: usize,
    orders: [Order; TABS.len()],
    /// The row at the top.
    offset: usize,
    /// Rows that there are, and that fit, as of the last time that they were drawn.
    rows: usize,
    height: usize,
}

impl View {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: on_terminal(url),
            now: None,
            before: None,
            away: None,
            tab: 0,
            orders: Default::default(),
            offset: 0,
            rows: 0,
            height: 0,
        }
    }

    /// Takes what came of asking the server.
    pub(super) fn take(&mut self, news: News) {
        match news {
            Ok(fetched) => {
                self.away = None;
                self.before = self.now.replace(fetched);
            }
            Err(why) => {
                let since = self.away.take().map_or_else(Instant::now, |(_, since)| since);
                self.away = Some((on_terminal(&why), since));
            }
        }
    }

    /// Shows the list this many further on.
    pub(super) fn turn(&mut self, by: isize) {
        let count = TABS.len() as isize;
        self.choose((self.tab as isize + by).rem_euclid(count) as usize);
    }

    /// Shows this list, if it is one.
    pub(super) fn choose(&mut self, tab: usize) {
        if tab < TABS.len() {
            (self.tab, self.offset) = (tab, 0);
        }
    }

    /// Orders the list by the next of its columns.
    pub(super) fn sort_by_next(&mut self) {
        let columns = TABS[self.tab].columns.len();
        let order = &mut self.orders[self.tab];
        *order = Order { column: (order.column + 1) % columns, is_reversed: false };
    }

    /// Turns the order of the list round.
    pub(super) fn reverse(&mut self) {
        self.orders[self.tab].is_reversed ^= true;
    }

    /// Scrolls by this many rows.
    pub(super) fn scroll(&mut self, by: isize) {
        self.offset = self.offset.saturating_add_signed(by).min(self.offset_max());
    }

    fn offset_max(&self) -> usize {
        self.rows.saturating_sub(self.height)
    }

    /// How many rows are seen.
    pub(super) fn page(&self) -> isize {
        self.height.max(1) as isize
    }

    /// Draws all of it.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let lines = self.summary(usize::from(frame.area().width));
        let heights = [
            Constraint::Length(lines.len() as u16),
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(1),
        ];
        let [top, tabs, list, help] = Layout::vertical(heights).areas(frame.area());
        frame.render_widget(Paragraph::new(lines), top);
        let titles = TABS.iter().enumerate().map(|(at, tab)| format!("{} {}", at + 1, tab.title));
        let chosen = Style::new().add_modifier(Modifier::REVERSED);
        frame.render_widget(Tabs::new(titles).select(self.tab).highlight_style(chosen), tabs);
        self.draw_list(frame, list);
        frame.render_widget(Paragraph::new(HELP).style(dim()), help);
    }

    /// The lines above the list, on a screen of this many columns.
    fn summary(&self, columns: usize) -> Vec<Line<'static>> {
        let mut lines = vec![self.head()];
        if let Some((why, _)) = &self.away {
            let chars: Vec<char> = why.chars().collect();
            let parts = chars.chunks(columns.max(1));
            lines.extend(parts.map(|part| Line::styled(String::from_iter(part), warning())));
        }
        let Some(now) = &self.now else { return lines };
        let status = &now.status;
        let rates = self.before.as_ref().and_then(|before| Rates::between(before, now));
        let each = |of: fn(&Rates) -> f64| rates.as_ref().map_or("-".to_owned(), |it| rate(of(it)));
        let flow = |of: fn(&Rates) -> f64| {
            rates.as_ref().map_or("-".to_owned(), |it| format!("{}/s", bytes(of(it) as u64)))
        };
        lines.push(Line::raw(format!(
            "in {} ({})   out {} ({})   rejected {}   dropped {}",
            each(|it| it.accepted),
            flow(|it| it.received_bytes),
            each(|it| it.delivered),
            flow(|it| it.sent_bytes),
            each(|it| it.rejected),
            each(|it| it.dropped),
        )));
        let pending = &status.pending;
        lines.push(Line::raw(format!(
            "pending {} of {} ({} of {}), oldest {}   dead letters {}",
            pending.messages,
            pending.messages_max,
            bytes(pending.bytes),
            bytes(pending.bytes_max),
            pending.oldest_seconds.map_or("-".to_owned(), seconds),
            status.dead_letters.count,
        )));
        lines.push(Line::raw(match &status.journal {
            None => "journal none".to_owned(),
            Some(journal) => format!(
                "journal {} ({} live), {} queued, sync {}",
                bytes(journal.file_bytes),
                bytes(journal.live_bytes),
                journal.queued_batches,
                journal.syncs.mean().map_or("-".to_owned(), |time| format!("{time:.1?}")),
            ),
        }));
        let connections = &status.connections;
        let slow = now.connections.iter().filter(|it| it.slow().is_some()).count();
        let text = format!(
            "connections {}, slow {slow}, publishers held back {}",
            connections.open, connections.held_publishers
        );
        lines.push(Line::styled(text, if slow > 0 { warning() } else { Style::new() }));
        lines
    }

    /// Which server it is, and how it is.
    fn head(&self) -> Line<'static> {
        let url = Span::styled(self.url.clone(), Style::new().add_modifier(Modifier::BOLD));
        let (text, is_bad) = match (&self.away, &self.now) {
            (Some((_, since)), now) => {
                let time = since.elapsed().as_secs();
                let old = if now.is_some() { "; below is what it was" } else { "" };
                (format!("no answer for {time} s{old}"), true)
            }
            (None, None) => ("connecting".to_owned(), false),
            (None, Some(now)) => {
                let (state, is_bad) = now.status.state();
                let (version, up) =
                    (on_terminal(&now.status.version), seconds(now.status.uptime_seconds));
                (format!("{version}   up {up}   {state}"), is_bad)
            }
        };
        let style = if is_bad { warning() } else { Style::new() };
        Line::from(vec![url, Span::raw("   "), Span::styled(text, style)])
    }

    fn draw_list(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let Some(now) = &self.now else { return };
        let tab = &TABS[self.tab];
        let mut rows = (tab.rows)(now, self.before.as_deref());
        let order = self.orders[self.tab];
        rows.sort_by(|one, other| {
            let of = |row: &tabs::Row| row.cells[order.column].key.clone();
            let by_key = of(one).order(&of(other));
            if order.is_reversed { by_key.reverse() } else { by_key }
        });
        // The head takes a line.
        (self.rows, self.height) = (rows.len(), usize::from(area.height.saturating_sub(1)));
        self.offset = self.offset.min(self.offset_max());
        let widths = widths(tab, &rows, area.width);
        let drawn = rows.into_iter().skip(self.offset).take(self.height).map(|row| {
            let cells = row.cells.into_iter().zip(tab.columns).take(widths.len());
            let cells = cells.map(|(cell, (_, align))| Cell::from(aligned(cell.text, *align)));
            Row::new(cells).style(if row.is_slow { warning() } else { Style::new() })
        });
        let heads = tab.columns.iter().enumerate().take(widths.len()).map(|(at, (head, align))| {
            let mark = match (at == order.column, order.is_reversed) {
                (false, _) => "",
                (true, false) => " v",
                (true, true) => " ^",
            };
            Cell::from(aligned(format!("{head}{mark}"), *align))
        });
        let table = Table::new(drawn, widths.iter().copied())
            .header(Row::new(heads).style(Style::new().add_modifier(Modifier::BOLD)))
            .column_spacing(SPACING);
        frame.render_stateful_widget(table, area, &mut TableState::default());
    }
}

/// As wide as what each column holds; the head has room for the mark of the order. Columns that do not fit are left out.
fn widths(tab: &Tab, rows: &[tabs::Row], max: u16) -> Vec<u16> {
    let of_column = |(at, (head, _)): (usize, &(&str, Align))| {
        let cells = rows.iter().map(|row| row.cells[at].text.chars().count());
        u16::try_from(cells.max().unwrap_or(0).max(head.len() + 2)).unwrap_or(u16::MAX)
    };
    let mut left = max.saturating_add(SPACING);
    let fits = |width: &u16| match left.checked_sub(width.saturating_add(SPACING)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    tab.columns.iter().enumerate().map(of_column).take_while(fits).collect()
}

fn aligned(text: String, align: Align) -> Line<'static> {
    let alignment = match align {
        Align::Left => Alignment::Left,
        Align::Right => Alignment::Right,
    };
    Line::raw(text).alignment(alignment)
}

fn warning() -> Style {
    Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD)
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}
