//! Elementary functions as the reference computes them, to the last bit.
//!
//! Libraries of mathematics differ in the last digit, and PromQL shows it: `floor(2 ^ x)` or `exp(x) == y` turn a last
//! bit into another answer. Prometheus takes these functions from Go's library on x86-64, whose algorithms are those of
//! Cephes (sine, tangent, arc tangent, hyperbolic tangent), of FreeBSD's msun (logarithms, inverse hyperbolic functions),
//! of Hart & Cheney (hyperbolic sine), and of its own (powers; the exponential, sixteen times halved, with fused
//! multiply-add). Each is written here with its coefficients and in its order of operations. What IEEE 754 rounds
//! correctly (sqrt, floor, abs) needs none of this.

pub mod exponential;
pub mod power;
pub mod trigonometric;

use numpy::ndarray::Array2;
use numpy::{IntoPyArray, PyArray2, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

fn unary(name: &str) -> Option<fn(f64) -> f64> {
    use exponential::{acosh, asinh, atanh, cosh, exp, ln, log2, log10, sinh, tanh};
    use trigonometric::{acos, asin, atan, cos, sin, tan};
    Some(match name {
        "acos" => acos,
        "acosh" => acosh,
        "asin" => asin,
        "asinh" => asinh,
        "atan" => atan,
        "atanh" => atanh,
        "cos" => cos,
        "cosh" => cosh,
        "exp" => exp,
        "ln" => ln,
        "log10" => log10,
        "log2" => log2,
        "sin" => sin,
        "sinh" => sinh,
        "tan" => tan,
        "tanh" => tanh,
        _ => return None,
    })
}

fn binary(name: &str) -> Option<fn(f64, f64) -> f64> {
    match name {
        "atan2" => Some(trigonometric::atan2),
        "pow" => Some(power::pow),
        _ => None,
    }
}

#[pyfunction]
fn elementary<'py>(
    py: Python<'py>,
    func: &str,
    values: PyReadonlyArray2<'py, f64>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let function = unary(func).ok_or_else(|| no_function(func))?;
    let values = values.as_array();
    let result: Array2<f64> = py.detach(|| values.mapv(function));
    Ok(result.into_pyarray(py))
}

#[pyfunction]
fn elementary2<'py>(
    py: Python<'py>,
    func: &str,
    left: PyReadonlyArray2<'py, f64>,
    right: PyReadonlyArray2<'py, f64>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let function = binary(func).ok_or_else(|| no_function(func))?;
    let (left, right) = (left.as_array(), right.as_array());
    if left.shape() != right.shape() {
        return Err(PyValueError::new_err("left and right must have one shape"));
    }
    let result: Array2<f64> = py.detach(|| {
        let mut result = left.to_owned();
        result.zip_mut_with(&right, |l, &r| *l = function(*l, r));
        result
    });
    Ok(result.into_pyarray(py))
}

fn no_function(func: &str) -> PyErr {
    PyValueError::new_err(format!("no elementary function {func:?}"))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(elementary, m)?)?;
    m.add_function(wrap_pyfunction!(elementary2, m)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(hex: &str) -> f64 {
        f64::from_bits(u64::from_str_radix(hex, 16).expect("hexadecimal"))
    }

    #[test]
    fn every_bit_is_that_of_the_reference() {
        let golden = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/golden/elementary/values.txt"
        );
        let path = std::env::var("ELEMENTARY_VALUES").unwrap_or(golden.to_owned());
        let text = std::fs::read_to_string(path).expect("the recorded values");
        let mut wrong = Vec::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let got = match words[..] {
                ["exp2", x, _] => exponential::exp2(number(x)),
                [name, x, _] => unary(name).expect("a function")(number(x)),
                [name, x, y, _] => binary(name).expect("a function")(number(x), number(y)),
                _ => panic!("{line}"),
            };
            let expected = number(words[words.len() - 1]);
            if got.to_bits() != expected.to_bits() && !(got.is_nan() && expected.is_nan()) {
                wrong.push(format!("{line}: {got:e} instead of {expected:e}"));
            }
        }
        assert!(
            wrong.is_empty(),
            "{} differ:\n{}",
            wrong.len(),
            wrong[..wrong.len().min(40)].join("\n")
        );
    }
}
