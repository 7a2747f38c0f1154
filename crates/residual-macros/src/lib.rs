//! [`compiled_here`]: a generic function that its own crate compiles, once for `f32` and once for
//! `f64`.
//!
//! **Decision.** Rust compiles a generic function in the crate that calls it: again in every such crate
//! and in every test program, as well optimised as that is. Kernels are large and slow to compile, and
//! must be fast whoever calls them. With the attribute a caller holds no more than a call.
//!
//! **Rejected.** *A trait with a method for each kernel*: a list of all signatures, far from the
//! functions. *`macro_rules!` around functions*: formatters and editors do not look inside.
//!
//! **Not here.** Functions that take closures or constants: their instances cannot be listed.

#![forbid(unsafe_code)]

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{ToTokens, format_ident, quote};
use syn::{
    Error, FnArg, GenericParam, Ident, ItemFn, Pat, PatIdent, PatType, Result, Type, TypeParamBound,
    parse_macro_input, parse_quote, spanned::Spanned,
};

/// Has a function `fn name<T: Float>(…)` compiled in the crate where it stands, for `f32` and for
/// `f64`, wherever it is called from.
///
/// It is a free function, or has no `self`; `T` is its only type parameter, and arguments have names. An
/// argument `impl IntoView<'a, T>` is made a view by the caller; the function returns a `Result` then.
/// The crate depends on `residual-tensor`.
#[proc_macro_attribute]
pub fn compiled_here(arguments: TokenStream, function: TokenStream) -> TokenStream {
    let function = parse_macro_input!(function as ItemFn);
    let unexpected = (!arguments.is_empty()).then(|| Error::new(function.span(), "takes no arguments"));
    unexpected.map_or_else(|| expand(function), Err).unwrap_or_else(Error::into_compile_error).into()
}

/// The function becomes a shell, which picks the instance for `T` and calls it. What a generic function
/// names is compiled in the caller's crate; what a plain method names that is not inlined, in its own.
fn expand(function: ItemFn) -> Result<Tokens> {
    let ItemFn { attrs, vis, mut sig, block, .. } = function;
    let is_known = |parameter: &GenericParam| match parameter {
        GenericParam::Type(parameter) => parameter.ident == "T",
        GenericParam::Lifetime(_) => true,
        GenericParam::Const(_) => false,
    };
    if !sig.generics.params.iter().all(is_known) || sig.generics.type_params().count() != 1 {
        return Err(Error::new(sig.generics.span(), "expected `T: Float` and no other type or constant"));
    }
    let mut body = sig.clone();
    body.ident = format_ident!("body");
    body.generics.params = body.generics.type_params().cloned().map(GenericParam::Type).collect();
    let (mut types, mut values) = (Vec::new(), Vec::new());
    for (outer, inner) in sig.inputs.iter_mut().zip(&mut body.inputs) {
        let (_, pattern) = typed(outer)?;
        pattern.mutability = None; // it is the body that may change it
        let name = pattern.ident.clone();
        let (r#type, _) = typed(inner)?;
        values.push(passed(&name, r#type));
        types.push(r#type.clone());
    }
    let output = &sig.output;
    Ok(quote! {
        #(#attrs)*
        #vis #sig {
            #body #block

            struct Instances;
            impl ::residual_tensor::PerFloat for Instances {
                type For<T: ::residual_tensor::Float> = fn(#(#types),*) #output;
                #[inline(never)]
                fn f32(self) -> Self::For<f32> {
                    body
                }
                #[inline(never)]
                fn f64(self) -> Self::For<f64> {
                    body
                }
            }
            T::pick(Instances)(#(#values),*)
        }
    })
}

/// Type and name of an argument.
fn typed(argument: &mut FnArg) -> Result<(&mut Type, &mut PatIdent)> {
    let span = argument.span();
    if let FnArg::Typed(PatType { pat, ty, .. }) = argument
        && let Pat::Ident(name) = &mut **pat
    {
        return Ok((ty, name));
    }
    Err(Error::new(span, "expected `name: type`"))
}

/// What the shell passes for an argument, whose type becomes one that has a name.
fn passed(name: &Ident, r#type: &mut Type) -> Tokens {
    let is_view = |bound: &TypeParamBound| match bound {
        TypeParamBound::Trait(bound) => {
            bound.path.segments.last().is_some_and(|last| last.ident == "IntoView")
        }
        _ => false,
    };
    match r#type {
        Type::ImplTrait(implements) if implements.bounds.iter().any(is_view) => {
            *r#type = parse_quote!(::residual_tensor::TensorView<'_, T>);
            quote!(::residual_tensor::IntoView::into_view(#name)?)
        }
        _ => name.into_token_stream(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(function: &str) -> Result<String> {
        expand(syn::parse_str(function)?).map(|tokens| tokens.to_string())
    }

    #[test]
    fn a_caller_names_no_instance() {
        let text = expanded("pub fn double<T: Float>(mut x: &mut [T], by: T) -> bool { true }").unwrap();
        assert!(text.starts_with("pub fn double < T : Float > (x : & mut [T] , by : T) -> bool"), "{text}");
        assert!(text.contains("fn body < T : Float > (mut x : & mut [T] , by : T) -> bool"), "{text}");
        assert!(text.ends_with("T :: pick (Instances) (x , by) }"), "{text}");
        assert_eq!(text.matches("inline (never)").count(), 2, "{text}");
    }

    #[test]
    fn views_are_made_by_the_caller() {
        let text = expanded("fn f<'a, T: Float>(x: impl IntoView<'a, T>) -> Result<()> { Ok(()) }").unwrap();
        assert!(text.starts_with("fn f < 'a , T : Float > (x : impl IntoView < 'a , T >)"), "{text}");
        assert!(
            text.contains("fn body < T : Float > (x : :: residual_tensor :: TensorView < '_ , T >)"),
            "{text}"
        );
        assert!(text.contains("into_view (x) ?"), "{text}");
    }

    #[test]
    fn what_cannot_be_a_shell_is_an_error() {
        for function in [
            "fn f(x: f32) {}",
            "fn f<U: Float>(x: U) {}",
            "fn f<T: Float, U>(x: T) {}",
            "fn f<T: Float, const N: usize>(x: T) {}",
            "fn f<T: Float>(self) {}",
            "fn f<T: Float>([x]: [T; 1]) {}",
        ] {
            assert!(expanded(function).is_err(), "{function}");
        }
    }
}
