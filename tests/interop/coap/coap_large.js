// A device on npm's coap server whose /large has more than one block, and changes twice a second.
// Notifications it sends in one message only. It asks the handler anew for each block, so a body must last a while.
const coap = require('coap')

const [port] = process.argv.slice(2).map(Number)
let value = 1
setInterval(() => { value++ }, 500)

const server = coap.createServer((request, response) => {
  response.setOption('Content-Format', 'application/json')
  response.end(JSON.stringify({ pad: 'x'.repeat(2000), v: value }))
})
server.listen(port, '127.0.0.1', () => console.log('listening'))
