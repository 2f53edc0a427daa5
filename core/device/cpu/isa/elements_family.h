/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the element-wise family that have a file of their own, for one instruction set. */
#ifndef LOCKSTEP_CORE_DEVICE_CPU_ISA_ELEMENTS_FAMILY_H
#define LOCKSTEP_CORE_DEVICE_CPU_ISA_ELEMENTS_FAMILY_H

#include "core/device/cpu/isa/isa.h"

/* DROPOUT (dropout.c). */
void LSI_ISA_NAME(lsi_cpu_dropout)(struct lsi_kernel *table);

#endif
