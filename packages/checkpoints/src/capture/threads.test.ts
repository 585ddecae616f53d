import { run } from '@vm0/process'
import { expect, test } from 'vitest'
import { giveThread, takeThread } from './threads.js'

test('a thread that was given back is taken again, one that has ended is not', async () => {
  const [one, two] = [takeThread(), takeThread()]
  expect(two).not.toBe(one)
  giveThread(one)
  giveThread(two)
  expect([takeThread(), takeThread()]).toEqual([two, one])
  giveThread(one)
  await one.terminate()
  const three = takeThread()
  expect(three).not.toBe(one)
  await Promise.all([two.terminate(), three.terminate()])
})

test('a process ends, though a thread of it waits for more to do', async () => {
  const threads = new URL('../../dist/capture/threads.js', import.meta.url).href
  const program = `import { giveThread, takeThread } from '${threads}'
    const thread = takeThread()
    thread.once('online', () => giveThread(thread))`
  expect(await run(process.execPath, ['--input-type=module', '-e', program])).toBe('')
})
