//! Figures, ratios and bounds, as tables for people or as one JSON object for programs.

use serde_json::{Map, Value, json};

/// The bound of a value.
#[derive(Debug, Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// One figure of a table.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    value: f64,
    /// The lowest and the highest of the rounds.
    range: Option<(f64, f64)>,
    decimals: usize,
    bound: Option<Bound>,
}

impl Cell {
    pub fn number(value: f64, decimals: usize) -> Cell {
        Cell { value, range: None, decimals, bound: None }
    }

    /// The median of what the rounds gave.
    pub fn median(rounds: impl IntoIterator<Item = f64>, decimals: usize) -> Cell {
        Cell::number(sorted(rounds).0, decimals)
    }

    /// The ratio of two things: the median of the ratios of the rounds, so that what disturbed one round counts once.
    pub fn ratio<'a>(
        ones: impl IntoIterator<Item = &'a f64>,
        others: impl IntoIterator<Item = &'a f64>,
    ) -> Cell {
        let (value, range) = sorted(ones.into_iter().zip(others).map(|(one, other)| one / other));
        Cell { value, range: Some(range), decimals: 2, bound: None }
    }

    pub fn at_least(self, bound: f64) -> Cell {
        Cell { bound: Some(Bound::AtLeast(bound)), ..self }
    }

    pub fn at_most(self, bound: f64) -> Cell {
        Cell { bound: Some(Bound::AtMost(bound)), ..self }
    }

    fn is_within(&self) -> bool {
        match self.bound {
            Some(Bound::AtLeast(bound)) => self.value >= bound,
            Some(Bound::AtMost(bound)) => self.value <= bound,
            None => true,
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{:.*}", self.decimals, self.value);
        if let Some((lowest, highest)) = self.range {
            text += &format!(" [{lowest:.2} {highest:.2}]");
        }
        if let Some(bound) = self.bound {
            let (bound, out) = match bound {
                Bound::AtLeast(bound) => (format!(">= {bound}"), "BELOW"),
                Bound::AtMost(bound) => (format!("<= {bound}"), "ABOVE"),
            };
            text += &format!(" {bound} {}", if self.is_within() { "ok" } else { out });
        }
        text
    }

    fn json(&self) -> Value {
        let value = json!(self.value);
        if self.range.is_none() && self.bound.is_none() {
            return value;
        }
        let mut object = Map::from_iter([("value".to_owned(), value)]);
        if let Some((lowest, highest)) = self.range {
            object.insert("lowest".to_owned(), json!(lowest));
            object.insert("highest".to_owned(), json!(highest));
        }
        match self.bound {
            Some(Bound::AtLeast(bound)) => object.insert("at_least".to_owned(), json!(bound)),
            Some(Bound::AtMost(bound)) => object.insert("at_most".to_owned(), json!(bound)),
            None => None,
        };
        if self.bound.is_some() {
            object.insert("ok".to_owned(), json!(self.is_within()));
        }
        Value::Object(object)
    }
}

/// The median, and the lowest and the highest.
fn sorted(values: impl IntoIterator<Item = f64>) -> (f64, (f64, f64)) {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], (values[0], values[values.len() - 1]))
}

/// A row of a table: what it is about, and its figures by their names.
pub struct Row {
    name: String,
    cells: Vec<(String, Cell)>,
}

impl Row {
    pub fn new(name: impl Into<String>) -> Row {
        Row { name: name.into(), cells: Vec::new() }
    }

    pub fn cell(mut self, column: impl Into<String>, cell: Cell) -> Row {
        self.cells.push((column.into(), cell));
        self
    }
}

/// The report of a run.
pub struct Report {
    is_json: bool,
    notes: Vec<String>,
    tables: Map<String, Value>,
    out_of_bounds: usize,
}

impl Report {
    pub fn new(is_json: bool) -> Report {
        Report { is_json, notes: Vec::new(), tables: Map::new(), out_of_bounds: 0 }
    }

    /// Something to know before the figures are read.
    pub fn note(&mut self, note: String) {
        if !self.is_json {
            println!("{note}");
        }
        self.notes.push(note);
    }

    /// Shows a table. Its columns are those of all rows, in their order.
    pub fn table(&mut self, name: &str, title: &str, rows: &[Row]) {
        let cells = || rows.iter().flat_map(|row| &row.cells);
        self.out_of_bounds += cells().filter(|(_, cell)| !cell.is_within()).count();
        let of_row = |row: &Row| {
            let mut object = Map::from_iter([("name".to_owned(), json!(row.name))]);
            object.extend(row.cells.iter().map(|(column, cell)| (column.clone(), cell.json())));
            Value::Object(object)
        };
        self.tables.insert(name.to_owned(), rows.iter().map(of_row).collect());
        if !self.is_json {
            print(title, rows);
        }
    }

    /// Ends the report, and answers how many figures are out of their bounds.
    pub fn finish(self) -> usize {
        let Report { is_json, notes, tables, out_of_bounds } = self;
        if is_json {
            println!("{}", json!({ "notes": notes, "out_of_bounds": out_of_bounds, "tables": tables }));
        } else {
            println!("\n{out_of_bounds} figures are out of their bounds");
        }
        out_of_bounds
    }
}

fn print(title: &str, rows: &[Row]) {
    let mut columns: Vec<&str> = Vec::new();
    for (column, _) in rows.iter().flat_map(|row| &row.cells) {
        if !columns.contains(&column.as_str()) {
            columns.push(column);
        }
    }
    let text = |row: &Row, column: &str| {
        let cell = row.cells.iter().find(|(name, _)| name == column);
        cell.map_or_else(String::new, |(_, cell)| cell.text())
    };
    let mut lines = vec![vec![String::new()]];
    lines[0].extend(columns.iter().map(|&column| column.to_owned()));
    for row in rows {
        let mut line = vec![row.name.clone()];
        line.extend(columns.iter().map(|column| text(row, column)));
        lines.push(line);
    }
    let width = |index: usize| lines.iter().map(|line| line[index].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..=columns.len()).map(width).collect();
    println!("\n{title}");
    for line in &lines {
        let mut printed = format!("{:<1$}", line[0], widths[0]);
        for (text, width) in line.iter().zip(&widths).skip(1) {
            printed += &format!("  {text:>width$}");
        }
        println!("{}", printed.trim_end());
    }
}
