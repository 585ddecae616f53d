import { Vm0Error } from '@vm0/contract'
import { claudeCode } from './claude-code/driver.js'
import type { FrameworkDriver } from './driver.js'

export type * from './driver.js'
export { openReleaseStore } from './releases.js'

export const drivers: readonly FrameworkDriver[] = [claudeCode]
/** What set-up installs, exact. */
export const defaultReleases: Readonly<Record<string, string>> = { 'claude-code': '2.1.330' }

export function findDriver(name: string): FrameworkDriver {
  const driver = drivers.find((each) => each.name === name)
  if (!driver)
    throw new Vm0Error(
      'UNKNOWN_FRAMEWORK',
      `framework ${JSON.stringify(name)} is unknown; expected one of ${drivers.map((each) => each.name).join(', ')}`,
    )
  return driver
}
export { warmUpMark } from './claude-code/warm-up.js'
