//! The plot: bars on a logarithmic scale, in colours that can be read on light and on dark.

use plotters::prelude::{
    Color, DrawingArea, IntoDrawingArea, IntoFont, PathElement, RGBColor, Rectangle, SVGBackend,
    Text, TextStyle,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Time, duration};

/// What is drawn: question, case, title.
const GROUPS: [(&str, &str, &str); 7] = [
    ("limit", "1 k, random", "one check of one limit, 1 k keys"),
    ("limit", "1 M, random", "one check of one limit, 1 M keys"),
    ("authorize", "allowed", "scopes alone"),
    ("get", "1 k", "a whole GET, 1 k tokens"),
    ("get", "1 M", "a whole GET, 1 M tokens"),
    ("post", "1 k", "a POST with key and price, 1 k tokens"),
    ("post", "1 M", "a POST with key and price, 1 M tokens"),
];

const WIDTH: u32 = 860;
const LEFT: i32 = 200;
const RIGHT: i32 = 770;
const TOP: i32 = 30;
const BAR: i32 = 14;
const STEP: i32 = 21;
const TITLE: i32 = 34;

// Each has a contrast of at least 3 on white and on near-black.
const INK: RGBColor = RGBColor(0x7a, 0x82, 0x8e);
const OURS: RGBColor = RGBColor(0x1f, 0x88, 0x5e);
const THEIRS: RGBColor = RGBColor(0x8d, 0x96, 0xa0);

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// The times of one run, as SVG.
///
/// # Errors
/// When there is nothing to draw.
pub fn plot(times: &[Time]) -> Result<String, Box<dyn std::error::Error>> {
    let groups: Vec<(&str, Vec<&Time>)> = GROUPS
        .iter()
        .map(|(question, case, title)| {
            let of_group = |time: &&Time| time.question == *question && time.case == *case;
            (*title, times.iter().filter(of_group).collect())
        })
        .filter(|(_, times): &(&str, Vec<&Time>)| !times.is_empty())
        .collect();
    let scale = Scale::of(groups.iter().flat_map(|(_, times)| times).map(|time| time.ns))
        .ok_or("there are no times to draw")?;
    let bars: usize = groups.iter().map(|(_, times)| times.len()).sum();
    let height = TOP + TITLE * i32::try_from(groups.len())? + STEP * i32::try_from(bars)? + 12;
    let mut svg = String::new();
    {
        let backend = SVGBackend::with_string(&mut svg, (WIDTH, u32::try_from(height)?));
        let area = backend.into_drawing_area();
        draw(&area, &groups, &scale, height)?;
        area.present()?;
    }
    Ok(svg)
}

fn draw(area: &Area<'_>, groups: &[(&str, Vec<&Time>)], scale: &Scale, height: i32) -> Drawn {
    for decade in scale.decades() {
        let x = scale.x(decade);
        area.draw(&PathElement::new([(x, TOP), (x, height - 12)], INK.mix(0.35)))?;
        text(area, &round(decade), (x, TOP - 6), HPos::Center, 12)?;
    }
    let mut y = TOP;
    for (title, times) in groups {
        y += TITLE;
        text(area, title, (LEFT, y - 8), HPos::Left, 13)?;
        for time in times {
            let color = if time.contender.starts_with("tollgate") { OURS } else { THEIRS };
            let end = scale.x(time.ns);
            area.draw(&Rectangle::new([(LEFT, y), (end, y + BAR)], color.filled()))?;
            text(area, time.contender, (LEFT - 8, y + 12), HPos::Right, 13)?;
            text(area, &duration(time.ns), (end + 6, y + 12), HPos::Left, 12)?;
            y += STEP;
        }
    }
    Ok(())
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), side: HPos, size: i32) -> Drawn {
    let style = TextStyle::from(("sans-serif", size).into_font());
    let style = style.color(&INK).pos(Pos::new(side, VPos::Bottom));
    area.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}

/// From nanoseconds to pixels.
struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    /// From the decade below the smallest to a little above the largest.
    fn of(times: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let smallest = times.clone().min_by(f64::total_cmp)?;
        let largest = times.max_by(f64::total_cmp)?;
        (smallest > 0.0)
            .then(|| Scale { from: 10_f64.powf(smallest.log10().floor()), to: largest * 1.1 })
    }

    #[allow(clippy::cast_possible_truncation, reason = "within the picture")]
    fn x(&self, ns: f64) -> i32 {
        let part = (ns / self.from).log10() / (self.to / self.from).log10();
        LEFT + (part * f64::from(RIGHT - LEFT)).round() as i32
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        let to = self.to;
        std::iter::successors(Some(self.from), |decade| Some(decade * 10.0))
            .take_while(move |decade| *decade <= to)
    }
}

fn round(ns: f64) -> String {
    if ns < 1_000.0 { format!("{ns:.0} ns") } else { format!("{:.0} µs", ns / 1_000.0) }
}
