import { expect, test } from 'vitest'
import { up } from './up.js'

test.each([
  [{ warm: -1 }, '--warm or VM0_WARM.'],
  [{ warm: 1.5 }, '--warm or VM0_WARM.'],
  [{ warmMin: Number.NaN }, '--warm-min or VM0_WARM_MIN.'],
  [{ warm: Infinity }, '--warm or VM0_WARM.'],
  [{ freezeMs: -1 }, '--freeze or VM0_FREEZE.'],
  [{ idleMs: 2 ** 31 }, '--idle or VM0_IDLE.'],
  [{ reclaimBelow: 101 }, '--reclaim-below or VM0_RECLAIM_BELOW.'],
])('%o is refused before anything is started, with the setting that is to be corrected', async (options, setting) => {
  await expect(up(options)).rejects.toMatchObject({ code: 'INVALID_REQUEST', hint: `Correct ${setting}` })
})
