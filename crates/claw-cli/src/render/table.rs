//! Plain tables: columns two blanks apart, without lines, good for eyes and for `awk`.

use std::io;

use owo_colors::Style;

use crate::output::{Output, Stream};

/// Rows under a heading. Cells must be safe text on one line.
pub(crate) struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

struct Cell {
    text: String,
    style: Option<Style>,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, style: None }
    }
}

impl Table {
    pub(crate) fn new<const N: usize>(heading: [&'static str; N]) -> Self {
        Self { heading: heading.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into_iter().map(Cell::from).collect());
    }

    /// Gives the cell of the last row in `column` a style.
    pub(crate) fn style(&mut self, column: usize, style: Style) {
        if let Some(cell) = self.rows.last_mut().and_then(|row| row.get_mut(column)) {
            cell.style = Some(style);
        }
    }

    /// Prints the table as data.
    pub(crate) fn print(&self, output: &Output) -> io::Result<()> {
        self.render(output.stdout, output.quiet).into_iter().try_for_each(|line| output.line(line))
    }

    /// Returns the lines, with the heading unless `quiet`.
    fn render(&self, stream: Stream, quiet: bool) -> Vec<String> {
        let widths: Vec<usize> = (0..self.heading.len())
            .map(|column| {
                let heading = if quiet { 0 } else { self.heading[column].len() };
                self.rows.iter().map(|row| row[column].text.chars().count()).max().unwrap_or(0).max(heading)
            })
            .collect();
        let heading = (!quiet).then(|| {
            let cells = self.heading.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
            stream.paint(Style::new().bold(), cells.collect::<Vec<_>>().join("  ").trim_end())
        });
        let rows = self.rows.iter().map(|row| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                let is_last = column + 1 == row.len();
                let padding = if is_last { 0 } else { width.saturating_sub(cell.text.chars().count()) };
                let text =
                    cell.style.map_or_else(|| cell.text.clone(), |style| stream.paint(style, &cell.text));
                format!("{text}{:padding$}", "")
            });
            cells.collect::<Vec<_>>().join("  ")
        });
        heading.into_iter().chain(rows).collect()
    }
}
