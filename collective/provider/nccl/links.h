/* SPDX-License-Identifier: Apache-2.0 */
/* NCCL as something that carries messages between composed hosts, for providers that do so (hybrid). */
#ifndef LOCKSTEP_COLLECTIVE_PROVIDER_NCCL_LINKS_H
#define LOCKSTEP_COLLECTIVE_PROVIDER_NCCL_LINKS_H

#include "collective/algo/message.h"

extern const struct lsi_links_ops lsi_nccl_carrier;

#endif
