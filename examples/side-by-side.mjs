// Several agents at once, each in its own sandbox.
import { vm0 } from 'vm0'

const languages = ['Python', 'JavaScript', 'Bash']
const results = await Promise.all(
  languages.map((language) =>
    vm0.run({
      prompt: `Write a program in ${language} that prints the first ten squares, and run it.`,
      resources: { memoryMiB: 1024 },
      labels: { language },
    }),
  ),
)
for (const [index, { text, session, costUsd }] of results.entries()) {
  const names = (await session.files.list()).map(({ name }) => name)
  console.log(`${languages[index]}: ${text} (${names.join(', ')}, $${costUsd.toFixed(2)})`)
}
