// SparkPost's own client.
const SparkPost = require('sparkpost');
const [origin, key] = [process.env.POSTROAD_URL, process.env.POSTROAD_KEY];
const client = new SparkPost(key, { origin });
const file = Buffer.from(Uint8Array.from({ length: 256 }, (_, i) => i)).toString('base64');

async function refused(call) {
    try { await call; return null; } catch (error) { return [error.statusCode, error.errors]; }
}

(async () => {
    const out = {};
    const sent = await client.transmissions.send({
        options: { click_tracking: false, transactional: true },
        campaign_id: 'spring',
        metadata: { order: '7' },
        substitution_data: { name: 'you', list: [{ n: 1 }, { n: 2 }] },
        content: {
            from: { name: 'Acme Tést', email: 'hello@acme.example' },
            reply_to: 'help@acme.example',
            subject: 'Grüße, {{name}}',
            html: '<p>Hi {{name}}{{if vip}}, dear{{end}}: {{each list}}{{loop_var.n}} {{end}}</p>',
            text: 'Hi {{name}}{{ missing or "!" }}',
            headers: { 'X-Order': '7' },
            attachments: [{ name: 'a.bin', type: 'application/octet-stream', data: file }],
        },
        cc: [{ address: { email: 'cid@example.net' } }],
        recipients: [
            { address: { email: 'ann@example.net', name: 'Ann "A" Ünal' }, substitution_data: { name: 'A<nn', vip: true }, metadata: { who: 'ann' } },
            { address: 'bob@example.net' },
        ],
    });
    out.sent = sent.results;
    out.partly = (await client.transmissions.send({
        content: { from: 'hello@acme.example', subject: 'x', text: 'x' },
        recipients: [{ address: 'ann@example.net' }, { address: 'nobody' }],
    })).results;
    out.raw = (await client.transmissions.send({
        content: { email_rfc822: 'From: hello@acme.example\r\nTo: ann@example.net\r\nX-MSYS-API: {"campaign_id": "raw"}\r\nSubject: Raw\r\n\r\nRaw.\r\n' },
        recipients: [{ address: 'ann@example.net' }],
    })).results;
    const one = { content: { from: 'hello@acme.example', subject: 'Later', text: 'x' }, recipients: [{ address: 'ann@example.net' }] };
    const start_time = new Date(Date.now() + 3600e3).toISOString().replace('Z', '+00:00');
    const later = (await client.transmissions.send({ ...one, options: { start_time } })).results.id;
    out.waits = (await client.transmissions.get(later)).results.transmission;
    await client.delete({ uri: `transmissions/${later}` });
    out.canceled = (await client.transmissions.get(later)).results.transmission.state;
    out.twice = await refused(client.delete({ uri: `transmissions/${later}`, json: true }));
    const ofCampaign = (await client.transmissions.send({ ...one, campaign_id: 'autumn', options: { start_time } })).results.id;
    await client.delete({ uri: 'transmissions', qs: { campaign_id: 'autumn' } });
    out.campaign = (await client.transmissions.list({ campaign_id: 'autumn' })).results.map((one) => [one.id === ofCampaign, one.state]);
    out.nowhere = await refused(client.transmissions.get('0'));
    out.events = (await client.events.searchMessage({ events: ['injection'], transmissions: [out.sent.id] })).results.map((event) => [event.type, event.transmission_id === out.sent.id, event.campaign_id]);
    const from = new Date(Date.now() - 86400e3).toISOString().slice(0, 16);
    out.metrics = (await client.get({ uri: 'metrics/deliverability', qs: { from, metrics: 'count_targeted,count_delivered' } })).results;
    out.empty = await refused(client.transmissions.send({ content: { from: 'hello@acme.example', subject: 'x', text: 'x' }, recipients: [{ address: 'nobody' }] }));
    out.both = await refused(client.transmissions.send({ content: { template_id: 'x', subject: 'x', from: 'hello@acme.example' }, recipients: [{ address: 'ann@example.net' }] }));
    out.syntax = await refused(client.transmissions.send({ content: { from: 'hello@acme.example', subject: 'x', text: '{{if a}}' }, recipients: [{ address: 'ann@example.net' }] }));
    out.wrong = await refused(new SparkPost('wrong', { origin }).transmissions.send({ content: {}, recipients: [] }));
    await client.suppressionList.upsert({ recipient: 'dead@example.net', type: 'transactional', description: 'x' });
    out.suppressed = (await client.suppressionList.get('dead@example.net')).results.map((entry) => [entry.recipient, entry.source]);
    out.summary = (await client.get({ uri: 'suppression-list/summary' })).results;
    await client.suppressionList.delete('dead@example.net');
    out.free = await refused(client.suppressionList.get('dead@example.net'));
    console.log(JSON.stringify(out));
})().catch((error) => { console.error(error, error.errors); process.exit(1); });
