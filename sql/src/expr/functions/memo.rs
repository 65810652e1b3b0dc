//! Remembering what was last made of a text, such as a compiled regex, across rows and batches.

use std::sync::Arc;

use super::Fail;

/// The thing made last, and of which text.
pub(crate) struct Memo<T>(std::sync::Mutex<Option<(String, Arc<T>)>>);

impl<T> Memo<T> {
    pub(crate) fn new() -> Self {
        Self(std::sync::Mutex::new(None))
    }

    pub(crate) fn get(
        &self,
        text: &str,
        make: impl FnOnce(&str) -> std::result::Result<T, Fail>,
    ) -> std::result::Result<Arc<T>, Fail> {
        let mut last = match self.0.lock() {
            Ok(last) => last,
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some((of, made)) = &*last
            && of == text
        {
            return Ok(made.clone());
        }
        let made = Arc::new(make(text)?);
        *last = Some((text.to_owned(), made.clone()));
        Ok(made)
    }
}
