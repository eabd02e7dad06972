// Sends with Mailgun's own client and prints what came of it, as one JSON object.
const Mailgun = require('mailgun.js');
const FormData = require('form-data');
const { POSTROAD_URL: url, POSTROAD_KEY: key } = process.env;

const library = new (Mailgun.default || Mailgun)(FormData);
const client = library.client({ username: 'api', key, url });
const domain = 'acme.example';
const octets = Buffer.from([...Array(256).keys()]);
const refused = async promise => {
  try { await promise; return null; } catch (error) { return { status: error.status, message: error.details || error.message }; }
};

(async () => {
  const plain = { from: 'hello@acme.example', to: 'ann@example.net', subject: 'Hello', text: 'Some text.' };
  const out = {};
  out.whole = await client.messages.create(domain, {
    from: 'Acme, Inc. <hello@acme.example>'.replace('Acme, Inc.', '"Acme, Inc."'), to: ['Ann Ä <ann@example.net>', 'dora@example.net'],
    cc: 'carl@example.net', bcc: 'bob@example.net', subject: 'Grüße', text: 'Hallo Ann', html: '<p>Hallo <img src="cid:logo.png"></p>',
    'h:X-Order': '7', 'h:Reply-To': 'help@acme.example', 'v:order': '7', 'o:tag': ['welcome', 'second'], 'o:tracking': 'no',
    attachment: [{ filename: 'ü.bin', data: octets }], inline: [{ filename: 'logo.png', data: Buffer.from('PNG') }],
  });
  out.merged = await client.messages.create(domain, {
    from: 'hello@acme.example', to: ['Ann <ann@example.net>', 'bob@example.net'], subject: 'Hi %recipient.name%',
    text: 'Dear %recipient.name%, %recipient.sum%', html: '<p>%recipient.name%</p>', 'v:who': '%recipient.id%',
    'h:List-Unsubscribe': '<%recipient.leave%>, <%tag_unsubscribe_email%>',
    'recipient-variables': JSON.stringify({
      'ann@example.net': { name: 'Ann', sum: 7, id: 'a1', leave: 'https://acme.example/u/a' },
      'bob@example.net': { name: 'Bob', sum: 8, id: 'b2', leave: 'https://acme.example/u/b' },
    }),
  });
  out.mime = await client.messages.create(domain, {
    to: 'ann@example.net',
    message: 'From: hello@acme.example\r\nTo: ann@example.net\r\nSubject: Raw\r\n\r\nAs it is.\r\n',
  });
  out.template = await client.messages.create(domain, {
    from: 'hello@acme.example', to: 'ann@example.net', template: 'Welcome', 't:variables': JSON.stringify({ name: 'Ann' }),
  });
  out.testmode = await client.messages.create(domain, { ...plain, 'o:testmode': 'yes' });
  out.noFrom = await refused(client.messages.create(domain, { to: 'a@example.net', text: 'x' }));
  out.badTo = await refused(client.messages.create(domain, { ...plain, to: 'nobody' }));
  out.bounced = await client.suppressions.create(domain, 'bounces', { address: 'dead@example.net', code: '550' });
  const bounces = await client.suppressions.list(domain, 'bounces');
  out.bounces = bounces.items.map(item => item.address);
  out.unbounced = await client.suppressions.destroy(domain, 'bounces', 'dead@example.net');
  out.domain = await client.domains.create({ name: 'mg.example' });
  out.domains = (await client.domains.list()).map(item => item.name);
  out.stored = await client.domains.domainTemplates.create(domain,
    { name: 'receipt', description: 'A receipt', template: '<p>{{sum}}</p>', tag: 'initial' });
  const templates = await client.domains.domainTemplates.list(domain);
  out.templates = templates.items.map(item => item.name);
  const version = await client.domains.domainTemplates.updateVersion(domain, 'receipt', 'initial', { template: '<p>{{total}}</p>', active: 'yes' });
  out.version = [version.templateName, version.templateVersion.tag];
  out.dropped = await client.domains.domainTemplates.destroy(domain, 'receipt');
  const stats = await client.stats.getDomain(domain, { event: ['accepted'], duration: '1d' });
  out.stats = stats.stats.map(row => row.accepted.total);
  const events = await client.events.get(domain, { event: 'accepted', limit: 50 });
  out.events = events.items.filter(item => item.tags.includes('welcome')).map(item => item.recipient);
  const wrong = library.client({ username: 'api', key: 'wrong', url });
  out.wrongKey = await refused(wrong.messages.create(domain, plain));
  console.log(JSON.stringify(out));
})().catch(error => { console.error(error, error.details); process.exit(1); });
