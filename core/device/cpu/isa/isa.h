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

#endif
