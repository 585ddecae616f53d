import { vm0 } from 'vm0'

const run = vm0.run({ framework: 'claude-code', prompt: 'buy me a coffee' })
for await (const event of run) if (event.type === 'message.delta') process.stdout.write(event.text)
const { text, costUsd, session } = await run
console.log({ text, costUsd })

await session.run('and one for my colleague') // the same conversation, in a year too
console.log(await session.files.list('/workspace'))
console.log((await session.exec('npm test')).exitCode)
