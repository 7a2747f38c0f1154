//! Environment variables that choose between things with names. A name that does not exist is an
//! error: a measurement of something else than what was asked for would be worse than none.

use crate::{KernelError, Result};

/// An enum of things with names. Its list of all variants and their names come from the rows that
/// declare them, so that no variant can be missing where all are tried.
macro_rules! named {
    (
        $(#[$about_all:meta])*
        $visibility:vis enum $name:ident {
            $($(#[$about:meta])* $variant:ident = $called:literal,)*
        }
    ) => {
        $(#[$about_all])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $visibility enum $name {
            $($(#[$about])* $variant,)*
        }

        impl $name {
            /// What environment variables call each, in the order of [`ALL`](Self::ALL).
            $visibility const NAMES: [&'static str; [$($called),*].len()] = [$($called),*];

            /// Every one, for choices, tests and measurements that go through all of them.
            $visibility const ALL: [Self; Self::NAMES.len()] = [$(Self::$variant),*];

            /// What environment variables call it.
            $visibility const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $called,)*
                }
            }
        }
    };
}

pub(crate) use named;

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

    named! {
        enum Letter {
            Alpha = "alpha",
            Beta = "beta",
        }
    }

    #[test]
    fn variants_and_names_are_those_of_the_rows() {
        assert_eq!(Letter::ALL, [Letter::Alpha, Letter::Beta]);
        assert_eq!(Letter::ALL.map(Letter::name), Letter::NAMES);
    }

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
