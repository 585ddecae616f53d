// What an agent does, as it does it.
import { vm0 } from 'vm0'

const run = vm0.run({ prompt: 'Find out which kernel and which Node.js this machine has.' })
for await (const event of run) {
  switch (event.type) {
    case 'sandbox.ready':
      console.log(`sandbox ready after ${Math.round(event.durationMs)} ms (${event.how})`)
      break
    case 'message':
      console.log(`agent: ${event.text}`)
      break
    case 'tool.started':
      console.log(`${event.name}: ${event.title}`)
      break
    case 'tool.finished':
      console.log(event.ok ? event.output : `failed: ${event.error}`)
      break
    case 'checkpoint.committed':
      console.log(`saved: ${event.changedFiles} files changed`)
      break
  }
}
const { usage, timings } = await run
console.log(`${usage.outputTokens} output tokens, ${Math.round(timings.totalMs)} ms`)
