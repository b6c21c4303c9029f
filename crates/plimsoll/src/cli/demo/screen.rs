//! What is seen while the usage is replayed: a live picture in a terminal, plain lines elsewhere.
//!
//! The picture is drawn over itself with plain ANSI sequences. It shows what the demonstration
//! counts itself; whether the product agrees is said at the end (`report`).
//!
//! Not here: when to draw, and what the numbers are.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use super::{
    receiver::Arrival,
    recount::{Recount, Tally},
    scenario::{Feature, Scenario},
};

/// Customers shown.
const NEAREST: usize = 6;
/// Webhooks shown.
const LATEST: usize = 8;
/// Between two pictures, and between two plain lines.
const PICTURE_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(1);

const PROGRESS_WIDTH: usize = 40;
const BAR_WIDTH: usize = 20;

/// No wrapping, no cursor: a narrow terminal then shows less instead of chaos.
const BEGIN: &str = "\x1b[?7l\x1b[?25l";
const END: &str = "\x1b[?7h\x1b[?25h";
const CLEAR_LINE: &str = "\x1b[2K";
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// One webhook and how long it took.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) arrival: Arrival,
    pub(super) latency: Option<Duration>,
}

/// What there is to show.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) elapsed: Duration,
    pub(super) sent: usize,
    pub(super) scenario: &'a Scenario,
    pub(super) recount: &'a Recount,
    pub(super) webhooks: usize,
    pub(super) verified: usize,
    /// The newest last.
    pub(super) latest: Vec<Shown>,
}

/// Where it is shown.
#[derive(Debug)]
pub(super) struct Screen {
    is_terminal: bool,
    /// Lines of the picture on the screen, to be drawn over.
    height: usize,
    next: Duration,
}

impl Screen {
    /// The standard output.
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stdout().is_terminal(), height: 0, next: Duration::ZERO }
    }

    /// How many of the newest webhooks a picture can use.
    pub(super) const LATEST: usize = LATEST;

    /// Whether it is time for the next picture.
    pub(super) fn is_due(&self, elapsed: Duration) -> bool {
        elapsed >= self.next
    }

    /// Shows `view`.
    pub(super) fn show(&mut self, view: &View<'_>) -> io::Result<()> {
        let mut output = io::stdout().lock();
        if self.is_terminal {
            self.next = view.elapsed + PICTURE_EVERY;
            let lines = picture(view);
            let mut frame = String::from(BEGIN);
            if self.height > 0 {
                write!(frame, "\x1b[{}A", self.height).expect("writing to a String cannot fail");
            }
            for line in &lines {
                writeln!(frame, "{CLEAR_LINE}{line}").expect("writing to a String cannot fail");
            }
            frame.push_str(END);
            self.height = lines.len();
            output.write_all(frame.as_bytes())?;
        } else {
            self.next = view.elapsed + LINE_EVERY;
            writeln!(output, "{}", plain_line(view))?;
        }
        output.flush()
    }
}

fn plain_line(view: &View<'_>) -> String {
    let latest = view.latest.last().map(|it| format!("; latest: {}", webhook(it)));
    format!(
        "{:5.1} s  {} of {} events sent, {} lines crossed, {} webhooks received, {} verified{}",
        view.elapsed.as_secs_f64(),
        view.sent,
        view.scenario.usage.len(),
        view.recount.crossings().len(),
        view.webhooks,
        view.verified,
        latest.unwrap_or_default(),
    )
}

fn picture(view: &View<'_>) -> Vec<String> {
    let total = view.scenario.usage.len();
    let percent = (view.sent * 100).checked_div(total).unwrap_or(100);
    let mut lines = vec![
        String::new(),
        format!(
            "  {} {percent:>3} %   {} of {total} events   {:.1} s",
            bar(percent as u64, PROGRESS_WIDTH, GREEN),
            view.sent,
            view.elapsed.as_secs_f64(),
        ),
        format!(
            "  {} duplicates recognised   {} lines crossed   {} webhooks   {} verified",
            view.recount.duplicates(),
            view.recount.crossings().len(),
            view.webhooks,
            view.verified,
        ),
        String::new(),
        format!("  {BOLD}nearest to their limit{PLAIN}"),
    ];
    let mut nearest: Vec<String> = nearest(view).iter().map(gauge).collect();
    nearest.resize(NEAREST, String::new());
    lines.extend(nearest);
    lines.push(String::new());
    lines.push(format!("  {BOLD}webhooks{PLAIN}"));
    let mut latest: Vec<String> =
        view.latest.iter().map(|it| format!("  {}", webhook(it))).collect();
    latest.resize(LATEST, String::new());
    lines.extend(latest);
    lines
}

/// A customer's feature and where it stands.
#[derive(Debug)]
struct Gauge<'a> {
    customer: &'a str,
    feature: Feature,
    tally: Tally,
    percentage: u64,
}

/// Those who have used most of their limit and not all of it.
fn nearest<'a>(view: &View<'a>) -> Vec<Gauge<'a>> {
    let mut gauges = Vec::new();
    for (index, customer) in view.scenario.customers.iter().enumerate() {
        for feature in Feature::ALL {
            let tally = view.recount.tally(index, feature);
            let Some(percentage) = tally.percentage().filter(|it| *it < 100) else { continue };
            gauges.push(Gauge { customer: &customer.key, feature, tally, percentage });
        }
    }
    gauges.sort_by_key(|it| std::cmp::Reverse(it.percentage));
    gauges.truncate(NEAREST);
    gauges
}

fn gauge(gauge: &Gauge<'_>) -> String {
    let Gauge { customer, feature, tally, percentage } = *gauge;
    let colour = match percentage {
        ..80 => GREEN,
        80..95 => YELLOW,
        _ => RED,
    };
    format!(
        "  {customer:<16} {:<13} {} {percentage:>3} %   {} of {}",
        feature.key(),
        bar(percentage, BAR_WIDTH, colour),
        grouped(tally.usage),
        grouped(tally.limit.unwrap_or_default()),
    )
}

/// With a comma before every three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `percent` of `width` filled.
fn bar(percent: u64, width: usize, colour: &str) -> String {
    let filled = (percent.min(100) as usize * width) / 100;
    format!("{colour}{}{PLAIN}{DIM}{}{PLAIN}", "█".repeat(filled), "░".repeat(width - filled))
}

fn webhook(shown: &Shown) -> String {
    let data = &shown.arrival.payload["data"];
    let text = |pointer: &str| data.pointer(pointer).and_then(|it| it.as_str()).unwrap_or("?");
    let latency =
        shown.latency.map_or_else(String::new, |it| format!("  {:.1} ms", it.as_secs_f64() * 1e3));
    let verdict = if shown.arrival.bad_signature.is_none() { "verified" } else { "BAD SIGNATURE" };
    format!(
        "{:<16} {:<13} {:<12} ─▶ {:<16} {verdict}{latency}",
        text("/customer/key"),
        text("/feature/key"),
        line(text("/line/kind"), text("/line/value")),
        shown.arrival.channel,
    )
}

/// A line in few words.
fn line(kind: &str, value: &str) -> String {
    match kind {
        "usage_percentage" | "limit" => format!("{value} %"),
        "usage_value" => format!("{value} used"),
        "balance_value" => format!("{value} left"),
        _ => format!("{kind} {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::trace::Trace, *};

    #[test]
    fn numbers_are_grouped() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, expected) in cases {
            assert_eq!(grouped(number), expected);
        }
    }

    fn view<'a>(scenario: &'a Scenario, recount: &'a Recount, sent: usize) -> View<'a> {
        View {
            elapsed: Duration::from_millis(1500),
            sent,
            scenario,
            recount,
            webhooks: 2,
            verified: 1,
            latest: Vec::new(),
        }
    }

    #[test]
    fn the_picture_keeps_its_height_and_the_line_its_numbers() {
        let scenario = Scenario::new(&Trace::generate(5), 5);
        let mut recount = Recount::new(&scenario.customers);
        let height = picture(&view(&scenario, &recount, 0)).len();
        for (index, usage) in scenario.usage.iter().enumerate() {
            recount.add(&index.to_string(), usage);
        }
        let total = scenario.usage.len();
        let full = view(&scenario, &recount, total);
        assert_eq!(picture(&full).len(), height);
        let crossed = recount.crossings().len();
        let expected = format!(
            "  1.5 s  {total} of {total} events sent, {crossed} lines crossed, \
             2 webhooks received, 1 verified"
        );
        assert_eq!(plain_line(&full), expected);
    }
}
