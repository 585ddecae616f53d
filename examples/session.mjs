// A session of your own: put files in, have them worked on, check, get the result out.
import { vm0 } from 'vm0'

const session = await vm0.sessions.create()
await session.files.write('/workspace/expenses.csv', 'what,amount\nlunch,12.5\ntrain,30\n')

const { text } = await session.run('Add up the amounts in expenses.csv and write the total to total.txt.')
console.log(text)

// Saves the session and frees its sandbox. What comes next brings a new sandbox back by itself.
await session.close()
console.log('total:', await session.files.readText('/workspace/total.txt'))
const { exitCode, stdout } = await session.exec('wc -l *.csv *.txt')
console.log(exitCode, stdout)

await session.delete()
