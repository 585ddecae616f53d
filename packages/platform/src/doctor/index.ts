import type { Check } from '@vm0/contract'
import { defaultDataDir } from '../paths.js'
import { gatherHostFacts } from './host-facts.js'
import { judgeHost } from './host-verdicts.js'

/** What this machine has and lacks for running the platform. Needs no running one, and changes nothing. */
export async function checkHost({ dataDir = defaultDataDir }: { dataDir?: string } = {}): Promise<Check[]> {
  return judgeHost(await gatherHostFacts(dataDir))
}
