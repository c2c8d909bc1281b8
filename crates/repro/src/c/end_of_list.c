/* What stands behind the last of the contents that a page may hold. */
#define END			(~0u)
