//! Line editing: a statement may span lines until its `;`, Tab completes, history is kept.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use reedline::{
    ColumnarMenu, Emacs, FileBackedHistory, KeyCode, KeyModifiers, MenuBuilder, PromptEditMode,
    PromptHistorySearch, PromptHistorySearchStatus, Reedline, ReedlineEvent, ReedlineMenu,
    ValidationResult, Validator, default_emacs_keybindings,
};

use super::complete::{Names, SqlCompleter};

const HISTORY_LINES: usize = 10_000;

pub(super) fn editor(history: Option<PathBuf>, names: Arc<Mutex<Names>>) -> io::Result<Reedline> {
    let mut keys = default_emacs_keybindings();
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(vec![
            ReedlineEvent::Menu("completion".into()),
            ReedlineEvent::MenuNext,
        ]),
    );
    let menu = ColumnarMenu::default().with_name("completion");
    let mut editor = Reedline::create()
        .with_validator(Box::new(EndsWithSemicolon))
        .with_completer(Box::new(SqlCompleter(names)))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_edit_mode(Box::new(Emacs::new(keys)));
    if let Some(file) = history {
        let history =
            FileBackedHistory::with_file(HISTORY_LINES, file).map_err(io::Error::other)?;
        editor = editor.with_history(Box::new(history));
    }
    Ok(editor)
}

/// A line is complete when it ends a statement or is one of the shell's own words.
struct EndsWithSemicolon;

impl Validator for EndsWithSemicolon {
    fn validate(&self, line: &str) -> ValidationResult {
        let line = line.trim();
        let own =
            ["", "exit", "quit", "help", "clear"].iter().any(|w| line.eq_ignore_ascii_case(w));
        if own || line.ends_with(';') {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}

pub(super) struct Prompt;

impl reedline::Prompt for Prompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        "sql".into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        "> ".into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "...> ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        match search.status {
            PromptHistorySearchStatus::Passing => format!("(search: {}) ", search.term).into(),
            PromptHistorySearchStatus::Failing => format!("(not found: {}) ", search.term).into(),
        }
    }
}
