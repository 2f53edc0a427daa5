/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the reference's element-wise family that have a file of their own. */
#ifndef LOCKSTEP_CORE_DEVICE_REF_ELEMENTS_H
#define LOCKSTEP_CORE_DEVICE_REF_ELEMENTS_H

#include "core/device/device_impl.h"

/* CAST and AFFINE (cast.c). */
void lsi_ref_cast(struct lsi_kernel *table);

/* bf16 to f32, exact; f32 to bf16, to nearest even, NaN to 0x7fc0. */
float lsi_f32_of_bf16(uint16_t bits);
uint16_t lsi_bf16_of_f32(float x);

#endif
