/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef COWCHECK_LOOK_H
#define COWCHECK_LOOK_H

#include "cowcheck.h"

/* COWCHECK_IOC_LOOK */
long cowcheck_look(struct cowcheck_look __user *argument);

#endif
