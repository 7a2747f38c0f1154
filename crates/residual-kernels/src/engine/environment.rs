//! Environment variables that choose between things with names. A name that does not exist is an
//! error: a measurement of something else than what was asked for would be worse than none.

use crate::{KernelError, Result};

/// What the variable names among `known`; none if it is not set, or empty.
///
/// # Errors
/// [`KernelError::Environment`] if it names something else.
pub(crate) fn choice<T: Copy>(
    variable: &'static str,
    known: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<Option<T>> {
    let value = std::env::var_os(variable).unwrap_or_default();
    find(variable, &value.to_string_lossy(), known, name)
}

fn find<T: Copy>(
    variable: &'static str,
    value: &str,
    known: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<Option<T>> {
    if value.is_empty() {
        return Ok(None);
    }
    let named = known.iter().copied().find(|&known| name(known) == value);
    named.map(Some).ok_or_else(|| KernelError::Environment {
        variable,
        value: value.into(),
        known: known.iter().map(|&known| name(known)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_does_not_exist_is_an_error_with_those_that_do() {
        let find = |value| find("RESIDUAL_LETTER", value, &["alpha", "beta"], |name| name);
        assert_eq!(find(""), Ok(None));
        assert_eq!(find("beta"), Ok(Some("beta")));
        assert_eq!(
            find("Beta").unwrap_err().to_string(),
            "RESIDUAL_LETTER is \"Beta\", which is not one of the names known here: alpha, beta"
        );
    }
}
