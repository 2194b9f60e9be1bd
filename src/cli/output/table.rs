//! Tables for people: columns that fit the terminal, whose widths the first rows decide.

use anstyle::{Effects, Style};

use super::display::{cut, cut_begin, escaped, width, wrap};
use kv::limits;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Column {
    heading: &'static str,
    is_number: bool,
    /// Whether it is left out where none of the first rows has something in it.
    is_sparse: bool,
    excess: Excess,
    room: Room,
}

/// What becomes of a cell that is wider than its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Excess {
    /// Its end is cut.
    End,
    /// Its begin is cut.
    Begin,
    /// It goes on in rows below.
    Wrapped,
}

/// The cell of something that an item does not have.
pub(in crate::cli) const NOTHING: &str = "-";

/// How a column gets its width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// As wide as its widest cell.
    Own,
    /// As that, but it is left out where the terminal is too narrow: the column with the highest number first.
    Spare(u8),
    /// A share of what the other columns leave; longer cells are cut.
    Shared,
}

impl Column {
    /// A column of names or texts, which are cut where the terminal is too narrow.
    pub(in crate::cli) const fn text(heading: &'static str) -> Column {
        Column { room: Room::Shared, ..Column::word(heading) }
    }

    /// A column of paths, which differ at their ends.
    pub(in crate::cli) const fn path(heading: &'static str) -> Column {
        Column { excess: Excess::Begin, ..Column::text(heading) }
    }

    /// A last column of sentences, which go on below where the terminal is too narrow.
    pub(in crate::cli) const fn prose(heading: &'static str) -> Column {
        Column { excess: Excess::Wrapped, ..Column::text(heading) }
    }

    /// A column of short words.
    pub(in crate::cli) const fn word(heading: &'static str) -> Column {
        Column { is_number: false, ..Column::number(heading) }
    }

    /// A column of numbers.
    pub(in crate::cli) const fn number(heading: &'static str) -> Column {
        Column { heading, is_number: true, is_sparse: false, excess: Excess::End, room: Room::Own }
    }

    /// This column, left out where the terminal is too narrow: of several such ones that with the highest number first.
    pub(in crate::cli) const fn spare(self, order: u8) -> Column {
        Column { room: Room::Spare(order), ..self }
    }

    /// This column, left out where none of the first rows has something in it.
    pub(in crate::cli) const fn sparse(self) -> Column {
        Column { is_sparse: true, ..self }
    }
}

/// Where a table is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    /// The width of the terminal; none where nothing is cut, as in a file.
    pub(super) columns: Option<usize>,
    pub(super) is_coloured: bool,
}

/// A table that is printed piece by piece.
#[derive(Debug)]
pub(super) struct Table {
    columns: &'static [Column],
    screen: Screen,
    /// The columns that are shown, with their widths, once the first rows are known.
    shown: Option<Vec<Shown>>,
}

/// A column that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown {
    index: usize,
    width: usize,
    /// Whether cells of the first rows are cut: then those of other rows are too.
    is_narrow: bool,
}

/// The columns between two cells.
const GAP: &str = "  ";

impl Table {
    pub(super) fn new(columns: &'static [Column], screen: Screen) -> Table {
        Table { columns, screen, shown: None }
    }

    /// The lines of these rows, below the headings if they are the first ones.
    pub(super) fn lines(&mut self, rows: Vec<Vec<String>>) -> String {
        if rows.is_empty() {
            return String::new();
        }
        let rows: Vec<Vec<String>> =
            rows.into_iter().map(|row| row.iter().map(|cell| escaped(cell)).collect()).collect();
        let mut text = self.headings(&rows);
        for row in &rows {
            for line in self.wrapped(row) {
                self.add_line(&mut text, &line);
            }
        }
        text
    }

    /// The rows that show a row: several, when a sentence at its end does not fit.
    fn wrapped(&self, row: &[String]) -> Vec<Vec<String>> {
        let last = self.shown.as_deref().and_then(<[Shown]>::last);
        let Some(Shown { index, width, .. }) = last.filter(|last| {
            self.columns[last.index].excess == Excess::Wrapped && self.screen.columns.is_some()
        }) else {
            return vec![row.to_vec()];
        };
        let pieces = wrap(&row[*index], *width).into_iter().enumerate();
        let line = |(number, piece)| {
            let other = |cell: &String| if number == 0 { cell.clone() } else { String::new() };
            let mut line: Vec<String> = row.iter().map(other).collect();
            line[*index] = piece;
            line
        };
        pieces.map(line).collect()
    }

    /// The headings of a table that has no row.
    pub(super) fn rest(&mut self) -> String {
        self.headings(&[])
    }

    /// The line of the headings, unless it was printed; these are the first rows.
    fn headings(&mut self, rows: &[Vec<String>]) -> String {
        if self.shown.is_some() {
            return String::new();
        }
        self.shown = Some(layout(self.columns, rows, self.screen.columns));
        let headings: Vec<String> = self.columns.iter().map(|column| column.heading.to_owned()).collect();
        let mut line = String::new();
        self.add_line(&mut line, &headings);
        if !self.screen.is_coloured {
            return line;
        }
        let style = Style::new().effects(Effects::BOLD);
        format!("{style}{}{style:#}\n", line.trim_end())
    }

    /// Adds a row. A cell that is wider than those of the first rows takes columns from the last one, as long as that has some
    /// to give.
    fn add_line(&self, text: &mut String, row: &[String]) {
        let shown = self.shown.as_deref().unwrap_or_default();
        let last = shown.last().filter(|last| self.columns[last.index].room == Room::Shared);
        let spare = last.map_or(0, |last| last.width - least(last.width));
        let mut given = 0;
        let mut line = String::new();
        for (place, &Shown { index, width: column, is_narrow }) in shown.iter().enumerate() {
            let is_last = place + 1 == shown.len();
            let room = match (is_last, is_narrow) {
                (true, _) => column - given,
                (false, true) => column,
                (false, false) => column + spare - given,
            };
            let cell = match self.screen.columns {
                Some(_) if self.columns[index].excess == Excess::Begin => cut_begin(&row[index], room),
                Some(_) => cut(&row[index], room),
                None => row[index].clone(),
            };
            let used = width(&cell);
            given += used.saturating_sub(column);
            let padding = " ".repeat(column.saturating_sub(used));
            if self.columns[index].is_number {
                line.push_str(&padding);
                line.push_str(&cell);
            } else {
                line.push_str(&cell);
                line.push_str(&padding);
            }
            line.push_str(GAP);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// The least width of a column that would like to have this one.
fn least(natural: usize) -> usize {
    natural.min(limits::TABLE_SHARE_COLUMNS)
}

/// The columns that fit, and their widths: those of these rows where there is room.
fn layout(columns: &[Column], rows: &[Vec<String>], screen: Option<usize>) -> Vec<Shown> {
    let natural = |(index, column): (usize, &Column)| {
        let cells = rows.iter().map(|row| width(&row[index]));
        let width = cells.chain([width(column.heading)]).max().unwrap_or_default();
        Shown { index, width, is_narrow: false }
    };
    let is_used = |(index, column): &(usize, &Column)| {
        !column.is_sparse || rows.iter().any(|row| row[*index] != NOTHING)
    };
    let mut shown: Vec<Shown> = columns.iter().enumerate().filter(is_used).map(natural).collect();
    let Some(screen) = screen else { return shown };
    let is_shared = |shown: &Shown| columns[shown.index].room == Room::Shared;
    loop {
        let needed: usize =
            shown.iter().map(|shown| if is_shared(shown) { least(shown.width) } else { shown.width }).sum();
        let spare = shown.iter().enumerate().filter_map(|(place, shown)| match columns[shown.index].room {
            Room::Spare(order) => Some((order, place)),
            _ => None,
        });
        match spare.max() {
            Some((_, place)) if needed + gaps(&shown) > screen => drop(shown.remove(place)),
            _ => break,
        }
    }
    let fixed: usize = shown.iter().filter(|shown| !is_shared(shown)).map(|shown| shown.width).sum();
    let mut left = screen.saturating_sub(fixed + gaps(&shown));
    let mut sharing: Vec<&mut Shown> = shown.iter_mut().filter(|shown| is_shared(shown)).collect();
    // Those that need less than their share come first, so that the others get what they leave.
    sharing.sort_by_key(|shown| shown.width);
    let mut count = sharing.len();
    for shown in sharing {
        let share = (left / count).max(1);
        shown.is_narrow = share < shown.width;
        shown.width = shown.width.min(share);
        left = left.saturating_sub(shown.width);
        count -= 1;
    }
    // The last column ends where the terminal does: so there is room for longer cells of rows that follow.
    if let Some(last) = shown.last_mut().filter(|last| is_shared(last)) {
        last.width += left;
    }
    shown
}

fn gaps(shown: &[Shown]) -> usize {
    GAP.len() * shown.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column::text("KEY"),
        Column::number("VERSION").spare(1),
        Column::word("TYPE").spare(2),
        Column::text("VALUE"),
    ];

    fn table(columns: Option<usize>) -> Table {
        Table::new(COLUMNS, Screen { columns, is_coloured: false })
    }

    fn rows(rows: &[[&str; 4]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_cells_and_the_last_one_is_cut() {
        let long = "v".repeat(100);
        let printed = table(Some(40)).lines(rows(&[["user/1", "7", "-", "1"], ["a", "12", "User", &long]]));
        assert_eq!(
            printed,
            "KEY     VERSION  TYPE  VALUE\n\
             user/1        7  -     1\n\
             a            12  User  vvvvvvvvvvvvvvvv…\n"
        );
    }

    #[test]
    fn a_narrow_terminal_is_shown_fewer_columns() {
        let long = "v".repeat(100);
        let row = [long.as_str(), "7", "User", &long];
        for (columns, headings) in
            [(60, "KEY VERSION TYPE VALUE"), (35, "KEY VERSION VALUE"), (26, "KEY VALUE"), (8, "KEY VALUE")]
        {
            let printed = table(Some(columns)).lines(rows(&[row]));
            let shown: Vec<&str> = printed.lines().next().unwrap().split_whitespace().collect();
            let shown = shown.join(" ");
            assert!(shown == headings || columns < 10, "{columns}: {printed}");
            assert!(printed.lines().all(|line| width(line) <= columns), "{columns}: {printed}");
        }
    }

    #[test]
    fn wide_characters_keep_the_columns_below_each_other() {
        let printed = table(Some(60)).lines(rows(&[["日本語", "1", "-", "値"], ["abc👩‍👩‍👧", "1", "-", "x"]]));
        let mut starts = printed.lines().map(|line| width(&line[..line.find(['V', '値', 'x']).unwrap()]));
        // The first V is that of VERSION.
        starts.next();
        assert_eq!(starts.next(), starts.next(), "{printed}");
    }

    #[test]
    fn later_rows_take_their_room_from_the_last_column() {
        let mut table = table(Some(60));
        table.lines(rows(&[["k/1", "1", "-", "1"]]));
        assert_eq!(table.lines(rows(&[["k/1000", "1", "-", "1"]])), "k/1000        1  -     1\n");
        let long = "k".repeat(100);
        let line = table.lines(rows(&[[&long, "1", "-", &long]]));
        assert!(width(line.trim_end()) <= 60 && line.matches('…').count() == 2, "{line}");
    }

    #[test]
    fn paths_are_cut_at_their_begin_and_sentences_go_on_below() {
        const COLUMNS: &[Column] =
            &[Column::path("STORE"), Column::number("LAG").sparse(), Column::prose("FINDING")];
        let mut table = Table::new(COLUMNS, Screen { columns: Some(30), is_coloured: false });
        let row = ["/var/lib/store/data.db", NOTHING, "it answers after a while"].map(str::to_owned).to_vec();
        let printed = table.lines(vec![row]);
        assert_eq!(
            printed,
            "STORE           FINDING\n…store/data.db  it answers\n                after a while\n",
        );
    }

    #[test]
    fn nothing_is_cut_in_a_file_and_control_characters_are_escaped_everywhere() {
        let long = "v".repeat(500);
        let printed = table(None).lines(rows(&[["a\x1b[31m\nb", "1", "-", &long]]));
        assert!(printed.ends_with(&format!("{long}\n")) && printed.contains("a\\u{1b}[31m\\nb"), "{printed}");
        assert_eq!(table(None).rest(), "KEY  VERSION  TYPE  VALUE\n");
    }
}
