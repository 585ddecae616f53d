import type { Resources } from '@vm0/contract'

/** Those that are given: what is left out must not hide what the session, or the default, says. */
export function dropUndefined(resources: Resources | undefined): Partial<Required<Resources>> {
  return Object.fromEntries(Object.entries(resources ?? {}).filter(([, value]) => value !== undefined))
}
