/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and vectors for the files that are compiled once per instruction set (cmake/layer.cmake sets LS_ISA).
 * LSI_ISA_NAME(lsi_cpu_rows) is lsi_cpu_rows_avx2 or lsi_cpu_rows_avx512.
 */
#ifndef LOCKSTEP_CORE_DEVICE_CPU_ISA_ISA_H
#define LOCKSTEP_CORE_DEVICE_CPU_ISA_ISA_H

#include "core/device/device_impl.h"

#define LSI_ISA_PASTE2(name, isa) name##_##isa
#define LSI_ISA_PASTE(name, isa) LSI_ISA_PASTE2(name, isa)
#define LSI_ISA_NAME(name) LSI_ISA_PASTE(name, LS_ISA)

/* fingerprint.c: as in struct lsi_sweeps. */
bool LSI_ISA_NAME(lsi_has_nan)(const float *data, int64_t count);
uint64_t LSI_ISA_NAME(lsi_xxh3)(const float *data, int64_t count, uint64_t seed);

#endif
