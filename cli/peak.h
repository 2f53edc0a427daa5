/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LOCKSTEP_CLI_PEAK_H
#define LOCKSTEP_CLI_PEAK_H

/* Most f32 operations a second that one core of this processor reaches by fused multiply-adds, measured now (about
 * 50 ms): what a bench's share of the arithmetic limit is a share of. */
double ls_measure_fma_peak(void);

#endif
