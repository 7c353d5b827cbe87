//! Rates reached against rates asked, drawn as SVG that is readable on light and on dark ground.

use std::fmt::Write;

/// What came of a limit, both in bits a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) asked: f64,
    pub(super) reached: f64,
}

/// A line of points: whose, and under which load.
#[derive(Debug)]
struct Series {
    whose: String,
    load: String,
    points: Vec<Point>,
}

/// Columns of panels, one a title: above the rates on logarithmic axes, below the share of what was asked.
#[derive(Debug, Default)]
pub(super) struct Plot {
    columns: Vec<(String, Vec<Series>)>,
}

/// Decades on both axes: 300 kbit/s to 3 Gbit/s, as powers of ten.
const DECADES: (f64, f64) = (5.7, 9.3);
/// Shares of what was asked.
const SHARES: (f64, f64) = (0.0, 1.25);
/// What a limit is to be met within.
const GOOD: (f64, f64) = (0.95, 1.01);
/// Side of a panel above, and height of one below.
const SIDE: f64 = 300.0;
const LOW: f64 = 190.0;
const LEFT: f64 = 78.0;
const TOP: f64 = 84.0;
const BETWEEN: f64 = 62.0;
const LEGEND: f64 = 96.0;

const STYLE: &str = "text{font:12px sans-serif;fill:#24292f}.title{font-size:15px;font-weight:600}.axis{stroke:#57606a}\
.grid{stroke:#57606a;stroke-opacity:.18}.ideal{stroke:#57606a;stroke-dasharray:4 4}.good{fill:#57606a;fill-opacity:.16}\
.s0{stroke:#0969da;fill:#0969da}.s1{stroke:#d1570a;fill:#d1570a}path.line{fill:none;stroke-width:1.6}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.axis,.grid,.ideal{stroke:#9198a1}.good{fill:#9198a1}\
.s0{stroke:#58a6ff;fill:#58a6ff}.s1{stroke:#f0883e;fill:#f0883e}}";

/// A panel: where it is, and what its axes span.
struct Panel {
    x: f64,
    y: f64,
    height: f64,
    span: (f64, f64),
}

impl Panel {
    fn at(&self, point: (f64, f64)) -> (f64, f64) {
        let share = |value: f64, (low, high): (f64, f64)| ((value - low) / (high - low)).clamp(0.0, 1.0);
        let (x, y) = (share(point.0, DECADES), share(point.1, self.span));
        (self.x + x * SIDE, self.y + (1.0 - y) * self.height)
    }
}

impl Plot {
    /// Adds a point to a line.
    pub(super) fn add(&mut self, column: &str, whose: &str, load: &str, point: Point) {
        let at = self.columns.iter().position(|(title, _)| title == column).unwrap_or_else(|| {
            self.columns.push((column.to_owned(), Vec::new()));
            self.columns.len() - 1
        });
        let lines = &mut self.columns[at].1;
        match lines.iter_mut().find(|line| line.whose == whose && line.load == load) {
            Some(line) => line.points.push(point),
            None => lines.push(Series { whose: whose.to_owned(), load: load.to_owned(), points: vec![point] }),
        }
    }

    /// The drawing; it says by which command it was made.
    pub(super) fn svg(&self, command: &str) -> String {
        // The legend needs the room of two.
        let width = LEFT + count(self.columns.len().max(2)) * (SIDE + LEFT);
        let height = TOP + SIDE + BETWEEN + LOW + LEGEND;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" role=\"img\" aria-label=\"Rate reached against rate asked\">\n\
             <style>{STYLE}</style>\n"
        );
        text(&mut svg, LEFT, 26.0, "title", "Rate that a limited pod reaches, against the limit");
        text(&mut svg, LEFT, 46.0, "", &format!("bytes of IP packets; {command}"));
        for (number, (title, lines)) in self.columns.iter().enumerate() {
            let x = LEFT + count(number) * (SIDE + LEFT);
            text(&mut svg, x, TOP - 10.0, "", &format!("{title}: reached"));
            let rates = Panel { x, y: TOP, height: SIDE, span: DECADES };
            let shares = Panel { x, y: TOP + SIDE + BETWEEN, height: LOW, span: SHARES };
            frame(&mut svg, &rates, &DECADE_TICKS);
            frame(&mut svg, &shares, &SHARE_TICKS);
            band(&mut svg, &shares);
            line(&mut svg, "ideal", &[(DECADES.0, DECADES.0), (DECADES.1, DECADES.1)].map(|one| rates.at(one)));
            anchored(&mut svg, (x + SIDE, TOP + SIDE + 34.0), "end", "asked");
            text(&mut svg, x, shares.y - 8.0, "", "reached / asked; the band is 0.95 to 1.01");
            for series in lines {
                let rate = |point: &Point| rates.at((point.asked.log10(), point.reached.max(1.0).log10()));
                let share = |point: &Point| shares.at((point.asked.log10(), point.reached / point.asked));
                draw(&mut svg, series, &series.points.iter().map(rate).collect::<Vec<_>>());
                draw(&mut svg, series, &series.points.iter().map(share).collect::<Vec<_>>());
            }
        }
        self.legend(&mut svg, TOP + SIDE + BETWEEN + LOW + 44.0);
        svg + "</svg>\n"
    }

    fn legend(&self, svg: &mut String, y: f64) {
        let Some((_, lines)) = self.columns.first() else { return };
        let mut rows: Vec<&str> = Vec::new();
        for series in lines {
            let row = rows.iter().position(|whose| *whose == series.whose).unwrap_or_else(|| {
                rows.push(&series.whose);
                rows.len() - 1
            });
            let column =
                lines.iter().filter(|other| other.whose == series.whose).position(|other| other.load == series.load);
            let (x, y) = (LEFT + count(column.unwrap_or_default()) * 235.0, y + count(row) * 20.0);
            draw(svg, series, &[(x, y - 4.0), (x + 22.0, y - 4.0)]);
            text(svg, x + 30.0, y, "", &format!("{}, {}", series.whose, series.load));
        }
    }
}

const DECADE_TICKS: [(f64, &str); 4] = [(6.0, "1 Mbit/s"), (7.0, "10 M"), (8.0, "100 M"), (9.0, "1 G")];
const SHARE_TICKS: [(f64, &str); 5] = [(0.0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1.0, "1")];

/// Border, grid and ticks; the horizontal axis is always of rates.
fn frame(svg: &mut String, panel: &Panel, ticks: &[(f64, &str)]) {
    for (value, label) in DECADE_TICKS {
        let (x, bottom) = panel.at((value, panel.span.0));
        line(svg, "grid", &[(x, panel.y), (x, bottom)]);
        anchored(svg, (x, bottom + 16.0), "middle", label);
    }
    for (value, label) in ticks {
        let (x, y) = panel.at((DECADES.0, *value));
        line(svg, "grid", &[(x, y), (x + SIDE, y)]);
        anchored(svg, (x - 6.0, y + 4.0), "end", label);
    }
    let (x, y, far, low) = (panel.x, panel.y, panel.x + SIDE, panel.y + panel.height);
    line(svg, "axis", &[(x, y), (x, low), (far, low)]);
}

fn band(svg: &mut String, panel: &Panel) {
    let ((x, low), (_, high)) = (panel.at((DECADES.0, GOOD.0)), panel.at((DECADES.0, GOOD.1)));
    let height = low - high;
    let _ =
        writeln!(svg, "<rect class=\"good\" x=\"{x:.1}\" y=\"{high:.1}\" width=\"{SIDE}\" height=\"{height:.1}\"/>");
}

/// The line of a series with its marks: a colour for whose it is, a shape and a dash for the load.
fn draw(svg: &mut String, series: &Series, places: &[(f64, f64)]) {
    let colour = if series.whose == "weft" { "s0" } else { "s1" };
    let dash = match series.load.as_bytes().first() {
        Some(b'1') => "",
        Some(b'8') => " stroke-dasharray=\"7 3\"",
        _ => " stroke-dasharray=\"2 3\"",
    };
    let _ = writeln!(svg, "<path class=\"line {colour}\"{dash} d=\"{}\"/>", path(places));
    for (x, y) in places {
        let shape = match series.load.as_bytes().first() {
            Some(b'1') => format!("<circle class=\"{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"),
            Some(b'8') => {
                format!("<rect class=\"{colour}\" x=\"{:.1}\" y=\"{:.1}\" width=\"6\" height=\"6\"/>", x - 3.0, y - 3.0)
            }
            _ => format!("<path class=\"{colour}\" d=\"M{x:.1} {:.1}l4 7h-8z\"/>", y - 4.0),
        };
        let _ = writeln!(svg, "{shape}");
    }
}

fn line(svg: &mut String, class: &str, places: &[(f64, f64)]) {
    let _ = writeln!(svg, "<path class=\"{class}\" fill=\"none\" d=\"{}\"/>", path(places));
}

fn path(places: &[(f64, f64)]) -> String {
    let steps =
        places.iter().enumerate().map(|(at, (x, y))| format!("{}{x:.1} {y:.1}", if at == 0 { 'M' } else { 'L' }));
    steps.collect()
}

fn text(svg: &mut String, x: f64, y: f64, class: &str, words: &str) {
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>");
}

fn anchored(svg: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    let _ = writeln!(svg, "<text text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>");
}

/// A small number to place things by.
#[expect(clippy::cast_precision_loss, reason = "columns and rows are few")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_reached_is_where_it_was_asked() {
        let panel = Panel { x: 0.0, y: 0.0, height: SIDE, span: DECADES };
        let (x, y) = panel.at((7.5, 7.5));
        assert!((x - SIDE / 2.0).abs() < 0.1 && (y - SIDE / 2.0).abs() < 0.1, "{x} {y}");
        assert!(panel.at((7.5, 0.0)).1 <= SIDE, "what is out of sight stays in the frame");
    }

    #[test]
    fn every_line_is_drawn_twice_and_told_once() {
        let mut plot = Plot::default();
        for (whose, asked) in [("weft", 1e6), ("weft", 1e7), ("other", 1e6)] {
            plot.add("Egress", whose, "1 stream", Point { asked, reached: asked });
        }
        let svg = plot.svg("a command");
        assert_eq!(svg.matches("class=\"line s0\"").count(), 3, "{svg}");
        assert_eq!(svg.matches("other, 1 stream").count(), 1, "{svg}");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("a command"));
    }
}
