import { expect, test } from 'vitest'
import { torture } from './torture/torture.js'

const faults = Number(process.env.VM0_TORTURE_FAULTS || 10)
const seed = Number(process.env.VM0_TORTURE_SEED || Math.floor(Math.random() * 1e9))

test(
  'whatever is killed and when, nothing that was acknowledged is lost',
  { timeout: 60_000 + faults * 30_000, retry: 0 },
  async () => {
    const say = process.env.VM0_TORTURE_FAULTS ? (line: string) => process.stderr.write(`${line}\n`) : () => undefined
    const report = await torture({ seed, faults, say }).catch((cause: unknown) => {
      throw new Error(`with VM0_TORTURE_SEED=${seed}: ${(cause as Error).message}`, { cause })
    })
    expect(report.faults).toBeGreaterThanOrEqual(faults)
    process.stderr.write(`seed ${seed}: ${JSON.stringify(report)}\n`)
  },
)
