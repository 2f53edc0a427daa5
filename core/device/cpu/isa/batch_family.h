/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the batch family that have a file of their own, for one instruction set. */
#ifndef LOCKSTEP_CORE_DEVICE_CPU_ISA_BATCH_FAMILY_H
#define LOCKSTEP_CORE_DEVICE_CPU_ISA_BATCH_FAMILY_H

#include "core/device/cpu/isa/isa.h"

/* BN_APPLY, BN_XHAT, BN_XGRAD (batch_norm.c). */
void LSI_ISA_NAME(lsi_cpu_batch_norm)(struct lsi_kernel *table);

#endif
