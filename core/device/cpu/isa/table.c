/* SPDX-License-Identifier: Apache-2.0 */
/* The table of one instruction set. */
#include "core/device/cpu/isa/isa.h"

#include <pthread.h>

static struct lsi_kernel table[LS_OP_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill(void)
{
    LSI_ISA_NAME(lsi_cpu_products)(table);
    LSI_ISA_NAME(lsi_cpu_conv)(table);
    LSI_ISA_NAME(lsi_cpu_batch)(table);
    LSI_ISA_NAME(lsi_cpu_elements)(table);
    LSI_ISA_NAME(lsi_cpu_rows)(table);
}

const struct lsi_kernel *LSI_ISA_NAME(lsi_cpu_kernels)(void)
{
    pthread_once(&once, fill);
    return table;
}
