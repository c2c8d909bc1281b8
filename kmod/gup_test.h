/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef COWCHECK_GUP_TEST_H
#define COWCHECK_GUP_TEST_H

void cowcheck_gup_test_init(void);
void cowcheck_gup_test_exit(void);

#endif
