/* SPDX-License-Identifier: Apache-2.0 */
/* Registration of the parts of the convolution family, one file each; conv.c calls them. */
#ifndef LOCKSTEP_CORE_DEVICE_CPU_ISA_CONV_FAMILY_H
#define LOCKSTEP_CORE_DEVICE_CPU_ISA_CONV_FAMILY_H

#include "core/device/cpu/isa/isa.h"

void LSI_ISA_NAME(lsi_cpu_conv_wgrad)(struct lsi_kernel *table); /* conv_wgrad.c */
void LSI_ISA_NAME(lsi_cpu_pool)(struct lsi_kernel *table);       /* pool.c */

/* f32; other types are left to the reference. */
static inline bool lsi_conv_accepts(const struct ls_device *device, const struct ls_op_call *call)
{
    (void)device;
    return call->out[0].dtype == LS_F32;
}

#endif
