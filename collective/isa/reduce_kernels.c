/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of reductions and of bf16 for AVX2 and for AVX-512. */
#include "collective/isa/reduce_table.h"
