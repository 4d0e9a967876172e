//! The binary logarithm in fixed point.
//!
//! Separate because it stands in for `f64::ln`, which differs between mathematics libraries. What
//! always holds: the same bits on every machine, and never more for a larger argument.

/// Bits behind the point.
const FRACTION: u32 = 32;
/// Entries of the table per unit.
const STEPS: usize = 256;

/// `log2(1 + i / STEPS)` in fixed point.
static TABLE: [u64; STEPS + 1] = table();

/// `-log2(value / 2^64)` in fixed point; 0 counts as 1.
pub(super) fn negative(value: u64) -> u64 {
    let value = value.max(1);
    let zeros = value.leading_zeros();
    // The mantissa without its leading one, which fills the upper bits.
    let mantissa = (value << zeros) << 1;
    let index = (mantissa >> 56) as usize;
    let within = (mantissa << 8) >> 32;
    let (low, high) = (TABLE[index], TABLE[index + 1]);
    let fraction = low + (((high - low) * within) >> 32);
    ((u64::from(zeros) + 1) << FRACTION) - fraction
}

const fn table() -> [u64; STEPS + 1] {
    let mut table = [0; STEPS + 1];
    let mut index = 0;
    while index <= STEPS {
        table[index] = log2_of_ratio((STEPS + index) as u64, STEPS as u64);
        index += 1;
    }
    table
}

/// `log2(numerator / denominator)` for a ratio in 1..=2, bit by bit: squaring doubles a logarithm.
const fn log2_of_ratio(numerator: u64, denominator: u64) -> u64 {
    const ONE: u128 = 1 << 62;
    if numerator == 2 * denominator {
        return 1 << FRACTION;
    }
    let mut value = ONE * numerator as u128 / denominator as u128;
    let (mut result, mut bit) = (0, FRACTION);
    while bit > 0 {
        bit -= 1;
        value = value * value / ONE;
        if value >= 2 * ONE {
            value /= 2;
            result |= 1 << bit;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wrong table would skew every share of a group with capacities.
    #[test]
    fn logarithms_are_close_and_monotone() {
        let mut last = u64::MAX;
        for exponent in 0..64 {
            for eighth in 0..8 {
                let value = (1_u64 << exponent) + ((1_u128 << exponent) * eighth / 8) as u64;
                let exact = 64.0 - (value as f64).log2();
                let found = negative(value) as f64 / f64::from(2_u32).powi(32);
                assert!((exact - found).abs() < 1e-5, "{value}: {found} for {exact}");
                assert!(negative(value) <= last, "{value}");
                last = negative(value);
            }
        }
        assert_eq!(negative(0), 64 << 32);
    }
}
